"""streaQ. Results and the log line of each task are off."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from streaq import Worker

from bench import work

worker = Worker(redis_url=work.REDIS, concurrency=work.PERMITS, anyio_kwargs={"use_uvloop": True})

TASKS = {name: worker.task(name=name, silent=True, ttl=0)(function) for name, function in work.ASYNC.items()}


@asynccontextmanager
async def connected() -> AsyncIterator[None]:
    async with worker:
        yield


async def one(task: str, data: Any) -> None:
    await TASKS[task].enqueue(data)


async def many(task: str, chunk: list[Any]) -> None:
    await worker.enqueue_many([TASKS[task].enqueue(data) for data in chunk])
