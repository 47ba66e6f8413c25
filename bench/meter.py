"""The meter of every contender: a shared page in which each thread that finishes tasks counts in a slot of its own.

It needs the standard library alone, so that another task queue's environment can import it, too.
"""

import mmap
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

VARIABLE = "BENCH_METER"
"""Environment variable with the page's path."""
_SLOTS = 256
_STRIDE = 8  # words between two slots: a cache line each, so that nobody slows anybody else down
_POLL = 0.01


class Meter:
    """The page.

    Args:
        path: the file; made if it is not there. Put it on tmpfs.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            os.ftruncate(fd, _SLOTS * _STRIDE * 8)
            self._words = memoryview(mmap.mmap(fd, _SLOTS * _STRIDE * 8)).cast("Q")
        finally:
            os.close(fd)
        self._local = threading.local()

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

    def _take_slot(self) -> int:
        for index in range(_SLOTS):
            try:
                os.close(os.open(f"{self.path}.{index}", os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                continue
            return index
        raise RuntimeError(f"more than {_SLOTS} threads count")


def inherited() -> Meter:
    """Return the meter that the benchmark has named in the environment."""
    return Meter(Path(os.environ[VARIABLE]))


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
    first = _reach(meter, tasks * 0.05, alive, time.monotonic() + patience)
    last = _reach(meter, tasks * 0.95, alive, time.monotonic() + patience)
    return (last[1] - first[1]) / (last[0] - first[0])


def _reach(meter: Meter, wanted: float, alive: Callable[[], bool], deadline: float) -> tuple[float, int]:
    while True:
        running = alive()  # asked first: what was counted just before the end still counts
        now, total = time.monotonic(), meter.total()
        if total >= wanted:
            return now, total
        if not running or now > deadline:
            raise RuntimeError(f"the tasks stopped at {total}, {wanted:.0f} were waited for")
        time.sleep(_POLL)
