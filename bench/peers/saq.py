"""SAQ. Results are off."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from redis.asyncio import Redis
from saq.queue.redis import RedisQueue

from bench import work

queue = RedisQueue(Redis.from_url(work.REDIS))


def _task(function: Callable[[Any], Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    async def task(_context: Any, data: Any) -> None:
        await function(data)

    return task


FUNCTIONS = [(name, _task(function)) for name, function in work.ASYNC.items()]
settings = {"queue": queue, "functions": FUNCTIONS, "concurrency": work.PERMITS}
"""What `saq` reads."""


@asynccontextmanager
async def connected() -> AsyncIterator[None]:
    await queue.connect()
    yield
    await queue.disconnect()


async def one(task: str, data: Any) -> None:
    await queue.enqueue(task, data=data, ttl=-1)


async def many(task: str, chunk: list[Any]) -> None:
    """Send all at a time; the queue lets 20 through: there is no call for it."""
    await asyncio.gather(*[queue.enqueue(task, data=data, ttl=-1) for data in chunk])
