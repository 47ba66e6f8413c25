"""How a queue runs empty, seen from outside."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

from multiworker.worker.operate import Operator

LOOK = 0.1
"""Seconds between two looks, unless told otherwise."""


@dataclass(frozen=True)
class View:
    """What a look at a queue has shown.

    Args:
        seconds: since the first look.
        left: tasks that wait, are put off, or run.
        running: of them.
        scheduled: of them, put off: delayed, or to be tried again.
        workers: that take from the queue, on all hosts.
        done: tasks that have gone from it since the first look. Those that came and went between two looks were not
            seen.
    """

    seconds: float
    left: int
    running: int
    scheduled: int
    workers: int
    done: int

    def __str__(self) -> str:
        """Return one line."""
        rate = f"{self.done / self.seconds:.1f}/s" if self.seconds >= 1 else ""
        where = f"{self.left:5} left ({self.running} running, {self.scheduled} put off)"
        return f"{self.seconds:5.1f} s {where:<36} {self.done:5} done  {rate}".rstrip()


def views(queue: Operator, pause: float = LOOK) -> Iterator[View]:
    """Look at a queue until it is empty; the last view is the one that shows it.

    Args:
        queue: which.
        pause: seconds between two looks.
    """
    began = time.monotonic()
    before: int | None = None
    done = 0
    while True:
        depths = queue.depths()
        waiting = depths.waiting + depths.handoff + depths.priority + depths.suspects
        left = waiting + depths.scheduled + depths.in_flight
        done += max(0, (left if before is None else before) - left)
        before = left
        yield View(time.monotonic() - began, left, depths.in_flight, depths.scheduled, depths.workers, done)
        if not left:
            return
        time.sleep(pause)
