"""Waiting for what comes when it comes: tests look again and again, and give up only when something is broken."""

import asyncio
import time
from collections.abc import Callable

PATIENCE = 30.0
"""Seconds until an event that does not come counts as missing; a busy machine takes its time."""
PAUSE = 0.005
"""Seconds between two looks."""


async def until(condition: Callable[[], object]) -> None:
    """Wait in an event loop until a condition holds.

    Args:
        condition: cheap and without effect.

    Raises:
        TimeoutError: it did not come to hold.
    """
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("what the test waits for did not come")
        await asyncio.sleep(PAUSE)


def sync_until(condition: Callable[[], object]) -> None:
    """Wait without an event loop until a condition holds; see until()."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("what the test waits for did not come")
        time.sleep(PAUSE)
