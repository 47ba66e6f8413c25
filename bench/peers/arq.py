"""arq. It polls twice a second by default and starts at most its permits in each poll: here it polls 100 times."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from arq import create_pool
from arq.connections import ArqRedis, RedisSettings
from arq.worker import func

from bench import work

LOGS = {"version": 1, "disable_existing_loggers": False, "loggers": {"arq": {"level": "WARNING"}}}
_pools: list[ArqRedis] = []


def _task(function: Callable[[Any], Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    async def task(_context: Any, data: Any) -> None:
        await function(data)

    return task


class WorkerSettings:
    """What `arq` reads."""

    functions = tuple(func(_task(function), name=name) for name, function in work.ASYNC.items())
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
    """Send 50 at a time, which is the fastest: there is no call for it."""
    for start in range(0, len(chunk), 50):
        await asyncio.gather(*[_pools[0].enqueue_job(task, data) for data in chunk[start : start + 50]])
