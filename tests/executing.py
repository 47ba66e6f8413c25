"""Runs single tasks in an executor, without Redis, as the tests of it do."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from multiworker.worker.context import CURRENT
from multiworker.worker.executor import Executor, Run
from multiworker.worker.outcome import Outcome
from multiworker.worker.registry import Handler, Registry
from multiworker.worker.settings import Settings

TASK = b'w.1.1 1 0\n{"type":"email","data":{"to":"x"}}'


def never(run: Run, outcome: Outcome) -> None:
    """Fail the test: for runs that end in time."""
    pytest.fail("no run here outlasts its timeout")


async def execute(executor: Executor, run: Run, overran: Callable[[Run, Outcome], object] = never) -> Outcome:
    """Execute a run as the current one."""
    CURRENT.set(run)
    return await executor.execute(run, overran)


def run_handler(
    function: Callable[[Any], Any], frame: bytes = TASK, settings: Settings | None = None, **more: Any
) -> Outcome:
    """Run a function on one frame, in an event loop of its own."""
    executor = Executor(Registry({"email": Handler(function, **more)}), settings or Settings())
    accepted = executor.accept("1.1", frame, "q")
    assert isinstance(accepted, Run)
    return asyncio.run(asyncio.wait_for(execute(executor, accepted), 60))


def raiser(make: Callable[[], BaseException], *, is_async: bool) -> Callable[[Any], Any]:
    """Make a handler that raises."""

    async def from_async(data: Any) -> None:
        raise make()

    def from_sync(data: Any) -> None:
        raise make()

    return from_async if is_async else from_sync
