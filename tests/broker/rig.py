"""A consumer in the test's own event loop, with a real Redis and handlers that the test writes."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

from multiworker.worker.broker import Broker
from multiworker.worker.consumer import Consumer
from multiworker.worker.executor import Executor
from multiworker.worker.lane import Lane
from multiworker.worker.ledger import Ledger
from multiworker.worker.process import _loop_factory
from multiworker.worker.registry import Handler, Registry
from multiworker.worker.settings import Settings
from tests.waiting import until

T = TypeVar("T")


def run(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine function in an event loop as children have it; a test that hangs is ended."""
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(asyncio.wait_for(main(), 100))


def _handler(name: str, given: Callable[[Any], Any] | Handler) -> Handler:
    """A function alone has next to no back-off."""
    return given if isinstance(given, Handler) else Handler(given, backoff=0.001, whole=name == "*")


class Rig:
    """A consumer and what belongs to it.

    Args:
        url: the Redis URL.
        handlers: type -> function, or a Handler with options; "*" is the catch-all.
        worker: its id in every queue.
        options: settings.
    """

    def __init__(
        self, url: str, handlers: Mapping[str, Callable[[Any], Any] | Handler], worker: str, **options: Any
    ) -> None:
        options.setdefault("queue", ("jobs",))
        self.settings = Settings(redis=url, **options)
        found = {name: _handler(name, one) for name, one in handlers.items()}
        catch_all = found.pop("*", None)
        self.worker = worker
        self.quota = 2**63
        self.reports = 0
        self.ledger = Ledger()
        self.executor = Executor(Registry(found, catch_all), self.settings)
        self.lanes = [Lane(Broker(queue, self.settings), self.ledger) for queue in self.settings.queue]
        self.consumer = Consumer(self.lanes, self.executor, self.settings, self._report, lambda: self.quota)
        self.running: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Register and consume."""
        for lane in self.lanes:
            assert await lane.broker.register(self.worker)
        self.running = asyncio.create_task(self.consumer.run())

    async def drain(self) -> None:
        """Let what runs end, and end in order."""
        assert self.running
        self.consumer.stop()
        await self.running
        self.check()

    async def leave(self) -> None:
        """Give back what is held, as a child does that leaves."""
        for lane in self.lanes:
            await lane.broker.recover(self.worker, "left", "")

    async def until_settled(self, number: int) -> None:
        """Wait until Redis has confirmed how so many deliveries ended."""
        await until(lambda: self.ledger.done + self.ledger.retried + self.ledger.dead >= number)

    def check(self) -> None:
        """The books add up."""
        ledger = self.ledger
        ended = ledger.done + ledger.retried + ledger.dead + ledger.given_back
        assert ledger.claimed == ended + self.consumer.deliveries.held, ledger

    async def close(self) -> None:
        """End at once, whatever runs."""
        if self.running:
            self.consumer.deliveries.abandon()
            self.running.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await self.running
        for lane in self.lanes:
            await lane.broker.close()

    def _report(self) -> None:
        self.reports += 1


def task(kind: str, data: object = None, **more: object) -> bytes:
    """A payload."""
    return json.dumps({"type": kind, "data": data} | more).encode()


class Gate:
    """Handlers that wait here until the test lets them go on; it knows who is inside."""

    def __init__(self) -> None:
        self.entered: list[Any] = []
        self.inside: list[Any] = []
        self.most = 0
        self._open = asyncio.Event()

    async def __call__(self, data: Any) -> None:
        self.entered.append(data)
        self.inside.append(data)
        self.most = max(self.most, len(self.inside))
        try:
            await self._open.wait()
        finally:
            self.inside.remove(data)

    def open(self) -> None:
        self._open.set()


@asynccontextmanager
async def consuming(
    url: str, handlers: Mapping[str, Callable[[Any], Any] | Handler], worker: str = "w", **options: Any
) -> AsyncIterator[Rig]:
    """A rig that consumes, as long as the context lasts."""
    rig = Rig(url, handlers, worker, **options)
    await rig.start()
    try:
        yield rig
    finally:
        await rig.close()
