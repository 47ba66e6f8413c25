"""Tasks that do what a test asks of them. A gate is a file that lets them go on."""

import asyncio
import os
import time
from pathlib import Path
from typing import Any

from django.dispatch import receiver

import multiworker
from multiworker.django.compat import TaskContext, task, task_finished, task_started
from tests.django.project.app.models import Note


@task
def add(a: Any, b: Any) -> Any:
    return a + b


@task
async def aadd(a: Any, b: Any) -> Any:
    await asyncio.sleep(0)
    return a + b


@task
def echo(*args: Any, **kwargs: Any) -> Any:
    return [list(args), kwargs]


@task
def note(key: str, text: str = "") -> int:
    pk: int = Note.objects.create(key=key, text=text).pk
    return pk


@task
async def anote(key: str, text: str = "") -> int:
    pk: int = (await Note.objects.acreate(key=key, text=text)).pk
    return pk


@task
def fail(message: str = "as told") -> None:
    raise ValueError(message)


@task(max_attempts=1)
def fail_once(message: str = "as told") -> None:
    raise ValueError(message)


@task(max_attempts=1)
async def afail_once(message: str = "as told") -> None:
    await asyncio.sleep(0)
    raise ValueError(message)


@task(backend="brisk")
def fail_briskly(message: str) -> None:
    raise ValueError(f"{message} {multiworker.current().attempt}")


@task(backend="brisk")
async def afail_briskly(message: str) -> None:
    await asyncio.sleep(0)
    raise ValueError(f"{message} {multiworker.current().attempt}")


@task
def current() -> list[Any]:
    task = multiworker.current()
    return [task.id, task.type, task.attempt, task.queue]


@task
async def acurrent() -> list[Any]:
    await asyncio.sleep(0)
    task = multiworker.current()
    return [task.id, task.type, task.attempt, task.queue]


@task(max_attempts=2)
def fail_twice() -> None:
    raise multiworker.Retry("again", delay=0)


@task(max_attempts=1)
def leave() -> None:
    raise SystemExit("leaving")


@task
def give_up() -> None:
    raise multiworker.Reject("never again")


@task(takes_context=True, max_attempts=5)
def third_time(context: TaskContext) -> dict[str, Any]:
    if context.attempt < 3:
        raise multiworker.Retry(f"attempt {context.attempt}", delay=0)
    return {"attempt": context.attempt, "id": context.task_result.id, "errors": len(context.task_result.errors)}


@task(takes_context=True)
async def acontext(context: TaskContext, *, wanted: str) -> Any:
    values = {"id": context.task_result.id, "status": context.task_result.status, "args": context.task_result.kwargs}
    return values[wanted]


@task
def odd_value(kind: str) -> Any:
    return {"function": lambda: None, "nan": float("nan"), "bytes": b"text", "large": "x" * 300_000, "tuple": (1, 2)}[
        kind
    ]


@task(timeout=0.2, max_attempts=1)
async def sleep_long() -> None:
    await asyncio.sleep(60)


@task(max_attempts=1)
def append(path: str, text: str) -> None:
    with Path(path).open("a") as file:
        file.write(text + "\n")


@task
def hold(gate: str) -> int:
    while not Path(gate).exists():
        time.sleep(0.005)
    return os.getpid()


@task(max_attempts=1)
def fail_late(gate: str, path: str) -> None:
    while not Path(gate).exists():
        time.sleep(0.005)
    append.func(path, "late")
    raise ValueError("late")


@task
async def ahold(gate: str) -> int:
    while not Path(gate).exists():  # noqa: ASYNC110, ASYNC240 - another process makes it
        await asyncio.sleep(0.005)
    return os.getpid()


@task(timeout=0.2, max_attempts=1)
def hold_briefly(gate: str) -> None:
    hold.func(gate)


@task(timeout=0.2, max_attempts=1)
async def ahold_briefly(gate: str) -> None:
    await ahold.func(gate)


@task
def die() -> None:
    os._exit(9)


def count(path: str, kind: str, n: int) -> int:
    """Note a run, in one write of its own: many processes do so in the same file."""
    with Path(path).open("ab", buffering=0) as file:
        file.write(f"{kind} {n} {multiworker.current().attempt}\n".encode())
    return n


@task
def counted(path: str, kind: str, n: int) -> int:
    return count(path, kind, n)


@task
async def acounted(path: str, kind: str, n: int) -> int:
    await asyncio.sleep(0)
    return count(path, kind, n)


@task(backend="brisk")
def counted_failing(path: str, kind: str, n: int) -> None:
    raise ValueError(f"{count(path, kind, n)} {multiworker.current().attempt}")


def not_a_task(path: str) -> None:
    Path(path).touch()


@task
async def heard(path: str) -> str:
    """What signals tell of it is written to a file."""
    await asyncio.sleep(0)
    return path


@task(max_attempts=1)
def heard_failing(path: str) -> None:
    raise ValueError(path)


def write(name: str, sender: type, result: Any) -> None:
    if result.task.func in {heard.func, heard_failing.func}:
        with Path(result.args[0]).open("a") as file:
            file.write(f"{name} {sender.__name__} {result.status} {result.attempts} {len(result.errors)}\n")


@receiver(task_started)
def write_start(sender: type, task_result: Any, **_: Any) -> None:
    write("started", sender, task_result)


@receiver(task_finished)
def write_end(sender: type, task_result: Any, **_: Any) -> None:
    write("finished", sender, task_result)


@receiver(task_finished)
def break_down(sender: type, task_result: Any, **_: Any) -> None:
    if task_result.task.func is heard.func:
        raise RuntimeError("a receiver's trouble is no task's")


unnamed = task(lambda: None)


class Nested:
    """A task need not stand at the top of its module."""

    @task
    def inner() -> str:
        return "inner"
