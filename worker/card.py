"""The card that a child leaves in Redis every few seconds: who it is, how it fares, what it runs. Admin pages show it.

With a card go the counts of what has ended since the last one. They are for charts: those that Redis did not get, or
may not have got, are not sent again.
"""

import asyncio
import contextlib
import itertools
import logging
import os
import random
import time
from collections.abc import Sequence
from typing import Any

import msgspec

from multiworker.worker.errors import RedisUnavailable
from multiworker.worker.executor import Run
from multiworker.worker.host import host_name, resident_bytes
from multiworker.worker.lane import Lane
from multiworker.worker.ledger import Tally
from multiworker.worker.message import parse_frame
from multiworker.worker.scoreboard import Record
from multiworker.worker.settings import Settings
from multiworker.worker.words import State, Word

log = logging.getLogger("multiworker.worker")

EVERY = 5.0
"""Seconds between two cards of one queue: 0.2 commands a second. A card stays for three times as long."""
FAREWELL = 0.5
"""Seconds that Redis gets to take the last card back."""
MOST_TASKS = 20
"""Tasks that a card names; those that have run longest."""


class Cards:
    """Publishes a child's cards, one in each of its queues.

    Args:
        lanes: one for each queue.
        record: the child's, in the scoreboard.
        settings: the parent's.
        parent: the parent's pid.
    """

    def __init__(self, lanes: Sequence[Lane], record: Record, settings: Settings, parent: int) -> None:
        self._lanes = lanes
        self._record = record
        self._settings = settings
        self._parent = parent
        self._started = time.monotonic()
        self._last = (self._started, time.process_time())
        self._changed = asyncio.Event()
        self._over = False

    def renew(self) -> None:
        """Publish a card now: the child has changed."""
        self._changed.set()

    async def run(self) -> None:
        """Publish until cancelled, or until the cards are taken back."""
        while not self._over:
            self._changed.clear()
            who = self._who()
            for lane in self._lanes:
                await self._publish(lane, _encode(who | _doing(lane)))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(EVERY * random.uniform(0.9, 1.1)):  # noqa: S311 - spread over children
                    await self._changed.wait()

    async def withdraw(self) -> None:
        """Tell what ended last, and take the cards back; the child ends."""
        self._over = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL):
                for lane in self._lanes:
                    await self._publish(lane, b"")

    async def _publish(self, lane: Lane, card: bytes) -> None:
        tally, lane.tally = lane.tally, Tally()
        try:
            await lane.broker.publish(card, tally.counts())
        except RedisUnavailable as error:
            log.debug("queue %s: card: %s", lane.broker.queue, error)

    def _who(self) -> dict[str, Any]:
        """Return what a card says of the child, in every queue."""
        record = self._record
        return {
            "host": host_name(),
            "pid": os.getpid(),
            "parent": self._parent,
            "name": self._settings.name or "",
            "slot": record[Word.SLOT],
            "generation": record[Word.GENERATION],
            "state": _state(record),
            "age": round(time.monotonic() - self._started, 1),
            "rss": resident_bytes(),
            "cpu": round(time.process_time(), 3),
            "load": self._load(),
            "concurrency": self._settings.concurrency,
            "done": record[Word.DONE],
            "retried": record[Word.RETRIED],
            "dead": record[Word.DEAD],
        }

    def _load(self) -> float:
        """Return the share of one core that this process took since the last card."""
        (then, before), self._last = self._last, (time.monotonic(), time.process_time())
        return round((self._last[1] - before) / max(self._last[0] - then, 0.001), 3)


def _state(record: Record) -> str:
    is_quiet = record[Word.STATE] == State.READY and record[Word.QUIET]
    return "quiet" if is_quiet else State(record[Word.STATE]).name.lower()


def _doing(lane: Lane) -> dict[str, Any]:
    """Return what a card says of one queue."""
    now = time.monotonic()
    first = itertools.islice(lane.running.values(), MOST_TASKS)
    return {"running": len(lane.running), "tasks": [_task(run, now) for run in first]}


def _task(run: Run, now: float) -> dict[str, Any]:
    """Return what a card says of a task; the id and the type are checked texts of at most 500 characters."""
    attempt = parse_frame(run.frame).attempt
    seconds = round(now - run.started, 1) if run.started else 0.0
    return {"id": run.label, "type": run.kind, "attempt": attempt, "seconds": seconds}


_encode = msgspec.json.Encoder().encode
