"""What the tasks do, the same for every contender. It needs the standard library alone.

A task is one call of a function of this module, which takes what was sent. It counts only when all is done.
"""

import asyncio
import hashlib
import os
import struct
import time
from collections.abc import Callable, Coroutine
from typing import Any

from bench.meter import VARIABLE, inherited

NOTES = "BENCH_NOTES"
"""Environment variable with the file in which starts of tasks are noted."""
PERMITS = int(os.environ.get("BENCH_PERMITS", "20"))
"""Tasks at once in a process, for queues whose command line cannot say so."""
REDIS = os.environ.get("BENCH_REDIS", "")
"""URL of the Redis server: unix://PATH."""
CONNECTIONS = 1000
"""Of a client's pool: redis-py 8 has 100 by default, with which 200 threads fail."""
NAP = 0.01
"""Seconds."""
BURN = 0.001
"""Seconds of CPU."""
BLOB = 100 * 1024
"""Bytes."""
HOLD = 60.0
"""Seconds that a task is held whose process will be killed."""
NOTE = struct.Struct("<qqq")
"""A noted start: process id, what the task was sent with, and when, in monotonic nanoseconds (one clock for all)."""
_BLOCK = bytes(1024)
_METER = inherited() if VARIABLE in os.environ else None
_OUT = os.open(os.environ.get(NOTES, os.devnull), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

DATA: dict[str, Callable[[int], object]] = {
    "noop": lambda _: 0,
    "nap": lambda _: NAP,
    "burn": lambda _: BURN,
    "blob": lambda _: "x" * BLOB,
    "age": lambda _: time.monotonic_ns(),
    "hold": lambda number: number,
}
"""What each task is sent with; the argument is its number."""


def _no_meter() -> None:
    raise RuntimeError(f"{VARIABLE} is not set")


_count = _METER.count if _METER else _no_meter


def _note(data: int) -> None:
    os.write(_OUT, NOTE.pack(os.getpid(), data, time.monotonic_ns()))


def noop(_data: int) -> None:
    """Do nothing."""
    _count()


def burn(seconds: float) -> None:
    """Compute for so much CPU time of the calling thread; waiting for the interpreter does not count."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        hashlib.sha256(_BLOCK)
    _count()


def blob(data: str) -> None:
    """Take a large payload."""
    if len(data) != BLOB:
        raise ValueError(f"{len(data)} characters came of {BLOB}")
    _count()


def age(pushed: int) -> None:
    """Note when the task was pushed, and when it has started."""
    _note(pushed)
    _count()


def nap(seconds: float) -> None:
    """Sleep, in a thread of one's own."""
    time.sleep(seconds)
    _count()


def hold(number: int) -> None:
    """Note the start and stay, in a thread of one's own."""
    _note(number)
    time.sleep(HOLD)


async def _noop(_data: int) -> None:
    _count()


async def _nap(seconds: float) -> None:
    await asyncio.sleep(seconds)
    _count()


async def _hold(number: int) -> None:
    _note(number)
    await asyncio.sleep(HOLD)


def _awaited(function: Callable[[Any], None]) -> Callable[[Any], Coroutine[Any, Any, None]]:
    async def task(data: Any) -> None:
        function(data)

    return task


SYNC: dict[str, Callable[[Any], None]] = {
    "noop": noop,
    "nap": nap,
    "burn": burn,
    "blob": blob,
    "age": age,
    "hold": hold,
}
"""The tasks, by name, for queues that run functions in threads or processes of their own."""
ASYNC = {name: _awaited(function) for name, function in SYNC.items()} | {"noop": _noop, "nap": _nap, "hold": _hold}
"""The same for queues that run coroutines."""
