"""Waiting for what comes when it comes: tests look again and again, and give up only when something is broken."""

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE = 60.0
"""Seconds until an event that does not come counts as missing; a busy machine takes its time."""
PAUSE, LONGEST_PAUSE = 0.005, 0.05
"""Seconds between two looks, at first and after a while."""


def pause_since(began: float) -> float:
    """Return the seconds until the next look at what does not come: each look takes the processor from who brings it.

    Args:
        began: monotonic seconds at which the wait began.
    """
    return min(LONGEST_PAUSE, max(PAUSE, (time.monotonic() - began) / 50))


async def until(condition: Callable[[], object]) -> None:
    """Wait in an event loop until a condition holds.

    Args:
        condition: cheap and without effect.

    Raises:
        TimeoutError: it did not come to hold.
    """
    began = time.monotonic()
    while not condition():
        if time.monotonic() > began + PATIENCE:
            raise TimeoutError("what the test waits for did not come")
        await asyncio.sleep(pause_since(began))


def sync_until(found: Callable[[], T | None]) -> T:
    """Wait without an event loop until something is there; see until().

    Returns:
        What was found, the first that counts as true.
    """
    began = time.monotonic()
    while not (result := found()):
        if time.monotonic() > began + PATIENCE:
            raise TimeoutError("what the test waits for did not come")
        time.sleep(pause_since(began))
    return result
