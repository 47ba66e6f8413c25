"""The tasks of the benchmarks, as a user would write them."""

import asyncio
import os
import struct
import time
from typing import Any

from bench.meter import VARIABLE, inherited
from multiworker.worker.registry import handler

AGES = "BENCH_AGES"
"""Environment variable with the file in which the ages of tasks are noted."""
METER = inherited() if VARIABLE in os.environ else None
OUT = os.open(os.environ.get(AGES, os.devnull), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)


@handler("noop")
async def noop(_data: Any) -> None:
    assert METER
    METER.count()


@handler("sleep")
async def sleep(data: float) -> None:
    await asyncio.sleep(data)
    assert METER
    METER.count()


@handler("age")
async def age(data: int) -> None:
    note_age(data)


def note_age(pushed: int) -> None:
    """Note how long ago a task was pushed; the monotonic clock is the same in all processes.

    Args:
        pushed: monotonic nanoseconds.
    """
    os.write(OUT, struct.pack("<q", time.monotonic_ns() - pushed))
