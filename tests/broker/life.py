"""A child that lives in the event loop of a test."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from multiworker.worker.child import Child
from multiworker.worker.links import links_of
from multiworker.worker.registry import Handler, Registry
from multiworker.worker.scoreboard import Record, Scoreboard
from multiworker.worker.settings import Settings
from multiworker.worker.words import NO_QUOTA, State, Word
from tests.waiting import until


def task(data: object = None) -> bytes:
    return json.dumps({"type": "t", "data": data}).encode()


class Life:
    """A child that lives in the test's event loop.

    Args:
        url: the Redis URL.
        board: the page.
        function: handles type t.
        first: nobody was ready before.
        parent: the pid that it takes for its parent's.
        options: settings.
    """

    def __init__(
        self,
        url: str,
        board: Scoreboard,
        function: Callable[[Any], Any],
        *,
        first: bool = False,
        parent: int = 0,
        **options: Any,
    ) -> None:
        options.setdefault("queue", ("jobs",))
        index = board.free_record()
        assert index is not None
        self.record: Record = board.records[index]
        self.record[Word.STATE] = State.IMPORT
        self.record[Word.QUOTA] = options.pop("quota", NO_QUOTA)
        registry = Registry({"t": Handler(function, backoff=0.001)})
        settings = Settings(redis=url, **options)
        self._child = Child(settings, board, self.record, registry, parent or os.getppid(), links_of(settings))
        self.living = asyncio.create_task(self._live(first=first))

    async def _live(self, *, first: bool) -> int:
        try:
            return await self._child.live(first=first)
        finally:  # its process would end now, and its connections with it
            for lane in self._child._lanes:
                await lane.broker.close()

    async def until(self, state: State) -> None:
        await until(lambda: self.record[Word.STATE] == state)

    def tell(self, number: int) -> None:
        """Send a signal as the parent does."""
        os.kill(os.getpid(), number)

    async def end(self) -> int:
        """Have it drain; returns its exit code."""
        if not self.living.done():
            self.tell(signal.SIGTERM)
        return await self.living


@asynccontextmanager
async def living(*arguments: Any, **options: Any) -> AsyncIterator[Life]:
    """A child that lives as long as the context lasts, and is ready when it begins."""
    life = Life(*arguments, **options)
    await life.until(State.READY)
    try:
        yield life
    finally:
        await life.end()


async def nothing(data: Any) -> None: ...


async def for_ever(data: Any) -> None:
    await asyncio.sleep(3600)


def books(record: Record) -> dict[str, int]:
    words = (Word.CLAIMED, Word.DONE, Word.RETRIED, Word.DEAD, Word.GIVEN_BACK, Word.IN_FLIGHT)
    return {word.name.lower(): record[word] for word in words if record[word]}
