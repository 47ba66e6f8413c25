"""Deadlines of one wait after the other."""

import asyncio
import functools
from collections.abc import Callable, Coroutine

import pytest

from multiworker.worker.deadline import Deadline

AGES = 3600.0


def in_a_loop(test: Callable[[], Coroutine[None, None, None]]) -> Callable[[], None]:
    """Run a test in an event loop of its own."""

    @functools.wraps(test)
    def run() -> None:
        asyncio.run(test())

    return run


async def wait(deadline: Deadline, seconds: float, event: asyncio.Event) -> None:
    """Wait for an event, at most so long."""
    with deadline.after(seconds):
        await event.wait()


@in_a_loop
async def test_a_wait_that_does_not_end_is_over_in_time() -> None:
    deadline = Deadline()
    for _ in range(3):
        with pytest.raises(TimeoutError):
            await wait(deadline, 0.001, asyncio.Event())
    task = asyncio.current_task()
    assert task
    assert not task.cancelling()


@in_a_loop
async def test_a_wait_is_not_ended_by_the_time_of_an_earlier_one() -> None:
    # given a wait that has ended long before its time
    deadline, event, heard = Deadline(), asyncio.Event(), asyncio.Event()
    event.set()
    await wait(deadline, 0.01, event)
    # when that time comes during the next wait
    asyncio.get_running_loop().call_later(0.02, heard.set)
    # then it goes on
    await wait(deadline, AGES, heard)


@in_a_loop
async def test_a_shorter_wait_ends_in_its_own_time() -> None:
    # given a wait that could have been a long one
    deadline, event = Deadline(), asyncio.Event()
    event.set()
    await wait(deadline, AGES, event)
    # when the next may be a short one only, then it is
    with pytest.raises(TimeoutError):
        await wait(deadline, 0.001, asyncio.Event())


@in_a_loop
async def test_a_wait_that_comes_after_the_timer_has_rung_is_bounded_too() -> None:
    deadline, event = Deadline(), asyncio.Event()
    event.set()
    await wait(deadline, 0.001, event)
    await asyncio.sleep(0.01)
    with pytest.raises(TimeoutError):
        await wait(deadline, 0.001, asyncio.Event())


@in_a_loop
async def test_who_cancels_the_task_is_not_told_of_a_timeout() -> None:
    # given a task that waits
    deadline = Deadline()
    task = asyncio.create_task(wait(deadline, AGES, asyncio.Event()))
    await asyncio.sleep(0)
    # when it is cancelled, then it is
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@in_a_loop
async def test_an_error_of_the_wait_gets_out() -> None:
    deadline = Deadline()
    with pytest.raises(KeyError), deadline.after(AGES):
        raise KeyError
