"""Work under failovers: a producer that pushes all the time, a parent that runs what it pushes, and what became of it.

What handlers noted in a file decides; nothing here asks Redis what has run.
"""

import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise

from multiworker.worker.client import Client
from multiworker.worker.errors import NotConfirmed, RedisUnavailable
from tests.system.fix_system import QUEUE, Engine
from tests.waiting import sync_until

PAUSE = 0.003
"""Seconds between two pushes."""
PATIENCE = 90.0
"""Seconds until a confirmed task that has not run counts as lost; twice the lease."""
OPTIONS = ("--stuck-timeout", "10", "--concurrency", "10", "--interval", "0.2")
"""Of the worker; the lease is 15 s."""


class Producer:
    """Pushes one task after the other, each to be confirmed by a replica, and never a second time.

    Args:
        url: the Redis URL.
        queue: the list.
    """

    def __init__(self, url: str, queue: str = QUEUE) -> None:
        self.confirmed: list[int] = []
        self.unconfirmed: list[int] = []
        self.unknown: list[int] = []
        self._client = Client(url)
        self._queue = queue
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._push)

    @contextmanager
    def pushing(self) -> Iterator["Producer"]:
        """Push as long as the context lasts."""
        self._thread.start()
        try:
            yield self
        finally:
            self._over.set()
            self._thread.join()
            self._client.close()

    def until_confirmed(self, count: int) -> None:
        """Wait until so many more are confirmed."""
        before = len(self.confirmed)
        sync_until(lambda: len(self.confirmed) - before >= count)

    def _push(self) -> None:
        n = 0
        while not self._over.wait(PAUSE):
            n += 1
            try:
                self._client.enqueue("quick", {"n": n, "seconds": 0.005}, queue=self._queue, confirm=1)
            except NotConfirmed:
                self.unconfirmed.append(n)
            except RedisUnavailable:
                self.unknown.append(n)
            else:
                self.confirmed.append(n)


@dataclass
class Outcome:
    """What became of the tasks.

    Args:
        confirmed: tasks that a replica had confirmed.
        unconfirmed: tasks that Redis had, without a confirmation.
        unknown: tasks whose push was not answered.
        lost: confirmed tasks that have not run.
        lost_others: unconfirmed tasks that have not run.
        repeated: tasks that ran more than once.
        outages: seconds in which no task ended, the longest around each fault.
        chatter: most warnings and errors that one child logged in one second.
    """

    confirmed: int
    unconfirmed: int
    unknown: int
    lost: list[int]
    lost_others: int
    repeated: int
    outages: list[float] = field(default_factory=list)
    chatter: int = 0

    def __str__(self) -> str:
        outages = ", ".join(f"{seconds:.1f}" for seconds in self.outages)
        return (
            f"confirmed {self.confirmed} (lost {len(self.lost)}), unconfirmed {self.unconfirmed} (lost "
            f"{self.lost_others}), unknown {self.unknown}, ran twice {self.repeated}, "
            f"silent for {outages} s, at most {self.chatter} warnings a second and child"
        )


@dataclass
class Fault:
    """Something that goes wrong.

    Args:
        happen: make it so; it has happened when this returns.
        heal: what an operator does then.
    """

    happen: Callable[[], None]
    heal: Callable[[], None] = lambda: None


def weather(engine: Engine, faults: list[Fault], calm: int = 50) -> Outcome:
    """Push and work through faults.

    Args:
        engine: started.
        faults: one after the other.
        calm: tasks to be confirmed before, between and after them.
    """
    outages: list[float] = []
    with Producer(engine.url).pushing() as producer:
        producer.until_confirmed(calm)
        for fault in faults:
            at = time.monotonic()
            fault.happen()
            fault.heal()
            producer.until_confirmed(calm)
            _wait_for(engine, set(producer.confirmed[-1:]))
            outages.append(_longest_silence(engine, at))
    _wait_for(engine, set(producer.confirmed))
    ran = engine.runs("end")
    return Outcome(
        confirmed=len(producer.confirmed),
        unconfirmed=len(producer.unconfirmed),
        unknown=len(producer.unknown),
        lost=[n for n in producer.confirmed if n not in ran],
        lost_others=sum(n not in ran for n in producer.unconfirmed),
        repeated=sum(count > 1 for count in ran.values()),
        outages=outages,
        chatter=chatter(engine),
    )


def _wait_for(engine: Engine, tasks: set[int]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not tasks.issubset(engine.runs("end")) and time.monotonic() < deadline:
        time.sleep(0.05)


def _longest_silence(engine: Engine, since: float) -> float:
    ends: list[float] = [entry["at"] for entry in engine.ledger("end") if entry["at"] >= since]
    return max(later - earlier for earlier, later in pairwise([since, *ends]))


def chatter(engine: Engine) -> int:
    """Return the most warnings and errors that one child has logged in one second."""
    lines = [re.match(r"(\S+)\.\d+Z (?:WARNING|ERROR) +(\d+) ", line) for line in engine.text().splitlines()]
    seconds = Counter(line.groups() for line in lines if line and int(line[2]) != engine.pid)
    return max(seconds.values(), default=0)
