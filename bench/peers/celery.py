"""Celery with threads. Tasks are acknowledged late, else a killed worker loses them; results are off."""

from typing import Any

from celery import Celery, group

from bench import work

app = Celery("bench", broker=work.REDIS.replace("unix://", "redis+socket://"))
app.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_ignore_result=True,
    broker_connection_retry_on_startup=True,
)
TASKS = {name: app.task(name=name)(function) for name, function in work.SYNC.items()}


def one(task: str, data: Any) -> None:
    TASKS[task].delay(data)


def many(task: str, chunk: list[Any]) -> None:
    """Send a group: it uses one connection, and there is no call that pipelines."""
    group(TASKS[task].s(data) for data in chunk).apply_async()
