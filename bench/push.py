"""The producer: sends tasks as one contender's users do, in that contender's environment.

python -m bench.push PEER MODE TASK COUNT, where MODE is
  one       each task by the queue's own call, one after the other
  many      by the queue's own call for many tasks, or else the best that it has, 1000 at a time
  spaced    as one, at random intervals, so that idle workers get them
The first call is not timed: it connects. When it began, the seconds of the others and how many tasks they sent are
printed as JSON. It needs the standard library alone, and uvloop if the environment has it.
"""

import asyncio
import importlib
import importlib.util
import json
import random
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from bench.work import DATA

CHUNK = 1000
SPACING = (0.005, 0.03)
"""Seconds between two tasks, from and to."""
Call = Callable[[str, Any], Any]


def calls(peer: Any, mode: str, task: str, count: int) -> Iterator[tuple[Call, Any, int]]:
    """Say what to call, in turn.

    Args:
        peer: the contender's module.
        mode: see the head of this module.
        task: which one.
        count: how many of it.

    Returns:
        The function, its second argument, and how many tasks that sends.
    """
    data = DATA[task]
    if mode == "many":
        for start in range(0, count, CHUNK):
            chunk = [data(number) for number in range(start, min(start + CHUNK, count))]
            yield peer.many, chunk, len(chunk)
        return
    for number in range(count):
        if mode == "spaced":
            time.sleep(random.uniform(*SPACING))
        yield peer.one, data(number), 1


class Times:
    """When the first call began, and what came after it."""

    def __init__(self) -> None:
        self.began = time.monotonic_ns()
        self._first_done = 0.0
        self._sent = 0

    def note(self, sent: int) -> None:
        """A call is over that has sent so many tasks."""
        if self._first_done:
            self._sent += sent
        else:
            self._first_done = time.perf_counter()

    def report(self) -> dict[str, float]:
        """Return the figures."""
        return {"began": self.began, "seconds": time.perf_counter() - self._first_done, "sent": self._sent}


def push(peer: Any, mode: str, task: str, count: int) -> dict[str, float]:
    """Send the tasks of a peer whose calls block."""
    times = Times()
    for call, data, sent in calls(peer, mode, task, count):
        call(task, data)
        times.note(sent)
    return times.report()


async def push_async(peer: Any, mode: str, task: str, count: int) -> dict[str, float]:
    """Send the tasks of a peer whose calls are awaited."""
    async with peer.connected():
        times = Times()
        for call, data, sent in calls(peer, mode, task, count):
            await call(task, data)
            times.note(sent)
        return times.report()


def run(main: Awaitable[dict[str, float]]) -> dict[str, float]:
    """Run it on uvloop if there is one, as multiworker does."""
    found = importlib.util.find_spec("uvloop")
    factory = importlib.import_module("uvloop").new_event_loop if found else None
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(main)  # type: ignore[arg-type] # it is a coroutine


def main() -> None:
    """Send, and print what it took."""
    name, mode, task, count = sys.argv[1:]
    peer = importlib.import_module(f"bench.peers.{name}")
    if hasattr(peer, "connected"):
        report = run(push_async(peer, mode, task, int(count)))
    else:
        report = push(peer, mode, task, int(count))
    print(json.dumps(report))


if __name__ == "__main__":
    main()
