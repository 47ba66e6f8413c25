"""SAQ. Results are off."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from redis.asyncio import Redis
from saq.queue.redis import RedisQueue

from bench import work

queue = RedisQueue(Redis.from_url(work.REDIS))


async def noop(_context: Any, *, data: Any) -> None:
    work.noop(data)


async def nap(_context: Any, *, data: Any) -> None:
    await work.anap(data)


async def burn(_context: Any, *, data: Any) -> None:
    work.burn(data)


async def blob(_context: Any, *, data: Any) -> None:
    work.blob(data)


async def age(_context: Any, *, data: Any) -> None:
    work.age(data)


async def hold(_context: Any, *, data: Any) -> None:
    await work.ahold(data)


settings = {"queue": queue, "functions": [noop, nap, burn, blob, age, hold], "concurrency": work.PERMITS}
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
