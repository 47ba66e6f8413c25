"""The meter of every contender: a shared page in which each thread that finishes tasks counts in a slot of its own.

It needs the standard library alone, so that another task queue's environment can import it, too. To count costs the
same for all: no lock and no system call. A slot is taken by a record lock, which the kernel gives up with the process,
so that a queue which forks for each task does not run out of slots.
"""

import fcntl
import mmap
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

VARIABLE = "BENCH_METER"
"""Environment variable with the page's path."""
SLOTS = 2048
_STRIDE = 8  # words between two slots: a cache line each, so that nobody slows anybody else down
_POLL = 0.01


class Counter(Protocol):
    """What tells how many tasks are done."""

    def total(self) -> int:
        """Return the tasks done so far."""


class Meter:
    """The page.

    Args:
        path: the file; made if it is not there. Put it on tmpfs.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)  # closing one would give up the locks
        os.ftruncate(self._fd, SLOTS * _STRIDE * 8)
        self._words = memoryview(mmap.mmap(self._fd, SLOTS * _STRIDE * 8)).cast("Q")
        self._begin()
        os.register_at_fork(after_in_child=self._begin)

    def count(self, more: int = 1) -> None:
        """Count tasks that the calling thread has got done."""
        try:
            index = self._local.index
        except AttributeError:
            index = self._local.index = self._take_slot() * _STRIDE
        self._words[index] += more

    def total(self) -> int:
        """Return the tasks counted so far, of all threads."""
        return sum(self._words[::_STRIDE].tolist())

    def _begin(self) -> None:
        self._local = threading.local()
        self._taking = threading.Lock()
        self._taken: set[int] = set()

    def _take_slot(self) -> int:
        first = os.getpid() * 61
        with self._taking:
            for slot in (number % SLOTS for number in range(first, first + SLOTS)):
                if slot in self._taken:
                    continue  # record locks do not keep a process from itself
                try:
                    fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, slot)
                except OSError:
                    continue
                self._taken.add(slot)
                return slot
        raise RuntimeError(f"more than {SLOTS} threads count")


def inherited() -> Meter:
    """Return the meter that the benchmark has named in the environment."""
    return Meter(Path(os.environ[VARIABLE]))


def reach(meter: Counter, wanted: float, alive: Callable[[], bool], patience: float) -> tuple[float, int]:
    """Wait until so many tasks are done.

    Args:
        meter: what counts them.
        wanted: how many.
        alive: tells whether those who do them still run.
        patience: seconds.

    Returns:
        When that was, in monotonic seconds, and how many there were then.

    Raises:
        RuntimeError: they ended or stopped short of it.
    """
    deadline = time.monotonic() + patience
    while True:
        running = alive()  # asked first: what was counted just before the end still counts
        now, total = time.monotonic(), meter.total()
        if total >= wanted:
            return now, total
        if not running or now > deadline:
            how = "took too long" if running else "ended"
            raise RuntimeError(f"the workers {how}: {total} tasks done, {wanted:.0f} were waited for")
        time.sleep(_POLL)


def rate(meter: Meter, tasks: int, alive: Callable[[], bool], patience: float) -> float:
    """Measure from 5 % to 95 % of the tasks, so that neither start nor end counts.

    Args:
        meter: what they count in.
        tasks: how many there are.
        alive: tells whether those who do them still run.
        patience: seconds until they must be through.

    Returns:
        Tasks a second.

    Raises:
        RuntimeError: they ended or stopped short of 95 %.
    """
    first = reach(meter, tasks * 0.05, alive, patience)
    last = reach(meter, tasks * 0.95, alive, patience)
    if last[0] == first[0]:
        raise RuntimeError(f"{tasks} tasks are too few to measure")
    return (last[1] - first[1]) / (last[0] - first[0])
