"""arq. It polls twice a second by default and starts at most its permits in each poll: here it polls 100 times."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from arq import create_pool
from arq.connections import ArqRedis, RedisSettings

from bench import work

LOGS = {"version": 1, "disable_existing_loggers": False, "loggers": {"arq": {"level": "WARNING"}}}
_pools: list[ArqRedis] = []


async def noop(_context: Any, data: Any) -> None:
    work.noop(data)


async def nap(_context: Any, data: Any) -> None:
    await work.anap(data)


async def burn(_context: Any, data: Any) -> None:
    work.burn(data)


async def blob(_context: Any, data: Any) -> None:
    work.blob(data)


async def age(_context: Any, data: Any) -> None:
    work.age(data)


async def hold(_context: Any, data: Any) -> None:
    await work.ahold(data)


class WorkerSettings:
    """What `arq` reads."""

    functions = (noop, nap, burn, blob, age, hold)
    redis_settings = RedisSettings.from_dsn(work.REDIS)
    max_jobs = work.PERMITS
    poll_delay = 0.01
    keep_result = 0
    log_results = False


@asynccontextmanager
async def connected() -> AsyncIterator[None]:
    _pools.append(await create_pool(WorkerSettings.redis_settings))
    yield
    await _pools.pop().aclose()


async def one(task: str, data: Any) -> None:
    await _pools[0].enqueue_job(task, data)


async def many(task: str, chunk: list[Any]) -> None:
    """Send many at a time, 50 connections' worth: there is no call for it."""
    for start in range(0, len(chunk), 50):
        await asyncio.gather(*[_pools[0].enqueue_job(task, data) for data in chunk[start : start + 50]])
