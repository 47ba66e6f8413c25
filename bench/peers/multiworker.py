"""multiworker. The worker reads REDIS_URL, and so does the producer."""

from typing import Any

from bench import work
from multiworker import enqueue, enqueue_many, handler


@handler("noop")
async def noop(data: Any) -> None:
    work.noop(data)


@handler("nap")
async def nap(data: Any) -> None:
    await work.anap(data)


@handler("burn")
async def burn(data: Any) -> None:
    work.burn(data)


@handler("blob")
async def blob(data: Any) -> None:
    work.blob(data)


@handler("age")
async def age(data: Any) -> None:
    work.age(data)


@handler("hold")
async def hold(data: Any) -> None:
    await work.ahold(data)


def one(task: str, data: Any) -> None:
    enqueue(task, data)


def many(task: str, chunk: list[Any]) -> None:
    enqueue_many((task, data) for data in chunk)
