"""The handlers of a chaos run: they note when a task starts and ends, and in between sleep, block or die."""

import asyncio
import ctypes
import itertools
import os
import signal
import time
from typing import Any

from multiworker.worker.context import current
from multiworker.worker.registry import handler
from tests.chaos.ledger import LEDGER, Event, note

RUNS = itertools.count()
OUT = os.open(os.environ[LEDGER], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)


@handler("chaos")
async def note_and_sleep(data: dict[str, Any]) -> None:
    run, attempt = next(RUNS), current().attempt
    note(OUT, Event.START, data["n"], run, attempt)
    if "die" in data:
        note(OUT, Event.FATAL, data["n"], run, attempt)
        die(data["die"])
    if "block" in data:
        time.sleep(data["block"])  # noqa: ASYNC251 - that is what it is for
    if data["seconds"]:
        await asyncio.sleep(data["seconds"])
    note(OUT, Event.END, data["n"], run, attempt)


def die(how: str) -> None:
    """End this process.

    Args:
        how: ``kill``, ``segfault``, ``exit``, ``abort``, or ``hang``: it is ended because it does nothing any more.
    """
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif how == "segfault":
        ctypes.string_at(0)
    elif how == "exit":
        os._exit(3)
    elif how == "abort":
        os.abort()
    while True:  # a signal that is handled ends the sleep
        ctypes.PyDLL(None).sleep(3600)  # keeps the interpreter's lock
