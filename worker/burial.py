"""Tasks on their way to the dead letters without having run, and the log line of every task that failed."""

import asyncio
import logging
from collections.abc import Callable

from multiworker.worker.context import Current
from multiworker.worker.errors import RedisUnavailable
from multiworker.worker.lane import Lane
from multiworker.worker.message import Frame
from multiworker.worker.outcome import Dead, Outcome, RetryIn

log = logging.getLogger("multiworker.worker")

HASH_AGAIN = 2.0
"""Seconds until an oversized element that could not be read is read again."""


class Burials:
    """Settles what cannot run; an element too large to travel is hashed first.

    Args:
        wake: called when something has been settled.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._under_way: set[asyncio.Task[None]] = set()

    def bury(self, lane: Lane, delivery: str, frame: Frame, dead: Dead) -> None:
        """Have the next step of a lane put a delivery into the dead letters.

        Args:
            lane: of its queue.
            delivery: its delivery id.
            frame: what was claimed.
            dead: why it cannot run.
        """
        log_failure(Current(frame.id, "-", frame.attempt, lane.broker.queue, frame.attempt), dead)
        if frame.size is None:
            lane.settle(delivery, dead)
            self._wake()
            return
        lane.hashing.add(delivery)
        job = asyncio.get_running_loop().create_task(self._bury_oversized(lane, delivery, frame, dead))
        self._under_way.add(job)
        job.add_done_callback(self._under_way.discard)

    async def _bury_oversized(self, lane: Lane, delivery: str, frame: Frame, dead: Dead) -> None:
        while True:
            try:
                digest = await lane.broker.hash_oversized(frame.id)
                break
            except RedisUnavailable:
                await asyncio.sleep(HASH_AGAIN)
        lane.hashing.discard(delivery)
        lane.settle(delivery, Dead(dead.reason, dead.error, digest))
        self._wake()


def log_failure(current: Current, outcome: Outcome) -> None:
    """Write the one line of a task that failed; nothing is written for others."""
    extra = {"task": {"id": current.id, "type": current.type, "attempt": current.attempt}}
    if isinstance(outcome, RetryIn):
        log.warning("task failed, next attempt in %.1f s: %s", outcome.delay, outcome.error, extra=extra)
    elif isinstance(outcome, Dead):
        log.error("task dead-lettered, %s: %s", outcome.reason, outcome.error, extra=extra)
