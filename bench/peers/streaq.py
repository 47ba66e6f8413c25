"""streaQ. Results and the log line of each task are off."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from streaq import Worker

from bench import work

worker = Worker(redis_url=work.REDIS, concurrency=work.PERMITS, anyio_kwargs={"use_uvloop": True})


@worker.task(silent=True, ttl=0)
async def noop(data: Any) -> None:
    work.noop(data)


@worker.task(silent=True, ttl=0)
async def nap(data: Any) -> None:
    await work.anap(data)


@worker.task(silent=True, ttl=0)
async def burn(data: Any) -> None:
    work.burn(data)


@worker.task(silent=True, ttl=0)
async def blob(data: Any) -> None:
    work.blob(data)


@worker.task(silent=True, ttl=0)
async def age(data: Any) -> None:
    work.age(data)


@worker.task(silent=True, ttl=0)
async def hold(data: Any) -> None:
    await work.ahold(data)


TASKS = {"noop": noop, "nap": nap, "burn": burn, "blob": blob, "age": age, "hold": hold}


@asynccontextmanager
async def connected() -> AsyncIterator[None]:
    async with worker:
        yield


async def one(task: str, data: Any) -> None:
    await TASKS[task].enqueue(data)


async def many(task: str, chunk: list[Any]) -> None:
    await worker.enqueue_many([TASKS[task].enqueue(data) for data in chunk])
