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


@broker.task
async def noop(data: Any) -> None:
    work.noop(data)


@broker.task
async def nap(data: Any) -> None:
    await work.anap(data)


@broker.task
async def burn(data: Any) -> None:
    work.burn(data)


@broker.task
async def blob(data: Any) -> None:
    work.blob(data)


@broker.task
async def age(data: Any) -> None:
    work.age(data)


@broker.task
async def hold(data: Any) -> None:
    await work.ahold(data)


TASKS = {"noop": noop, "nap": nap, "burn": burn, "blob": blob, "age": age, "hold": hold}


@asynccontextmanager
async def connected() -> AsyncIterator[None]:
    await broker.startup()
    yield
    await broker.shutdown()


async def one(task: str, data: Any) -> None:
    await TASKS[task].kiq(data)


async def many(task: str, chunk: list[Any]) -> None:
    """Send many at a time, 50 connections' worth: there is no call for it."""
    for start in range(0, len(chunk), 50):
        await asyncio.gather(*[TASKS[task].kiq(data) for data in chunk[start : start + 50]])
