"""The handler of a chaos run: notes when a task starts and ends, and sleeps in between."""

import asyncio
import itertools
import os
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
    await asyncio.sleep(data["seconds"])
    note(OUT, Event.END, data["n"], run, attempt)
