"""The sample load of ``multiworker demo``, and its handlers, which sleep in place of work; anybody may run them.

Each run leaves two lines of JSON in the file that ``MULTIWORKER_SAMPLE_LEDGER`` names: one when it starts, whose
``end`` is null, and one when it ends. A run with the first line alone is under way, or its process died.
"""

import asyncio
import itertools
import json
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from multiworker import current, handler

LEDGER = "MULTIWORKER_SAMPLE_LEDGER"
"""The environment variable that names the ledger; without it nothing is written."""
SECONDS = {"email": 1.0, "file_process": 2.0, "fast_task": 0.5, "medium_task": 1.0, "slow_task": 2.0}
"""Task type -> how long it takes."""
TIMED = ("fast_task",) * 3 + ("medium_task",) * 2 + ("slow_task",) * 2
"""The tasks whose time is taken."""
REST = ("file_process",) + ("email",) * 39
"""The tasks during which a child is killed."""
UNKNOWN = '{"id": "send_fax-1", "type": "send_fax", "data": {}}'
"""A task whose type nobody handles."""
BROKEN = '{"type": "email", "data": {"to": "user@exam'
"""No JSON."""


def payloads(types: Sequence[str]) -> dict[str, str]:
    """Make tasks.

    Args:
        types: of each task.

    Returns:
        Task id, such as ``email-3`` for the third of its type, -> payload.
    """
    numbers = {kind: itertools.count(1) for kind in types}
    ids = [(f"{kind}-{next(numbers[kind])}", kind) for kind in types]
    return {task: json.dumps({"id": task, "type": kind, "data": {}}) for task, kind in ids}


def _sleeper(kind: str) -> Callable[[Any], Awaitable[None]]:
    @handler(kind)
    async def work(_data: Any) -> None:
        start = time.monotonic()
        _note(start, None)
        await asyncio.sleep(SECONDS[kind])
        _note(start, time.monotonic())

    return work


def _note(start: float, end: float | None) -> None:
    """Append one line in a single write, so that lines of several processes never mix."""
    path = os.environ.get(LEDGER)
    if not path:
        return
    task = current()
    run = {"id": task.id, "type": task.type, "pid": os.getpid(), "attempt": task.attempt, "start": start, "end": end}
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, json.dumps(run).encode() + b"\n")
    finally:
        os.close(fd)


email = _sleeper("email")
file_process = _sleeper("file_process")
fast_task = _sleeper("fast_task")
medium_task = _sleeper("medium_task")
slow_task = _sleeper("slow_task")
