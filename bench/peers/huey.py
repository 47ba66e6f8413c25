"""Huey with threads. Results are off."""

from typing import Any

from huey import RedisHuey

from bench import work

huey = RedisHuey("bench", url=f"{work.REDIS}?max_connections={work.CONNECTIONS}", results=False)
TASKS = {name: huey.task(name=name)(function) for name, function in work.SYNC.items()}


def one(task: str, data: Any) -> None:
    TASKS[task](data)


def many(task: str, chunk: list[Any]) -> None:
    TASKS[task].map(chunk)
