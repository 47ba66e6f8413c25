"""TaskIQ, with the broker of BENCH_BROKER: list (BRPOP, no acknowledgement) or stream. There is no result back end."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from taskiq_redis import ListQueueBroker, RedisStreamBroker

from bench import work

BROKERS = {"list": ListQueueBroker, "stream": RedisStreamBroker}
broker = BROKERS[os.environ["BENCH_BROKER"]](work.REDIS, max_connection_pool_size=work.CONNECTIONS)

TASKS = {name: broker.task(task_name=name)(function) for name, function in work.ASYNC.items()}


@asynccontextmanager
async def connected() -> AsyncIterator[None]:
    await broker.startup()
    yield
    await broker.shutdown()


async def one(task: str, data: Any) -> None:
    await TASKS[task].kiq(data)


async def many(task: str, chunk: list[Any]) -> None:
    """Send ten at a time, which is the fastest: there is no call for it."""
    for start in range(0, len(chunk), 10):
        await asyncio.gather(*[TASKS[task].kiq(data) for data in chunk[start : start + 10]])
