"""One child's event loop: connects, consumes, drains, leaves."""

import asyncio
import contextlib
import faulthandler
import logging
import os
import random
import secrets
import signal
import time
from collections.abc import Callable

from multiworker.worker.answers import Recovered
from multiworker.worker.backoff import exponential
from multiworker.worker.card import Cards
from multiworker.worker.consumer import Consumer
from multiworker.worker.errors import Exit, Fenced, RedisUnavailable
from multiworker.worker.executor import Executor
from multiworker.worker.host import host_name
from multiworker.worker.lane import Lane
from multiworker.worker.ledger import Ledger
from multiworker.worker.limits import Limits
from multiworker.worker.links import Links
from multiworker.worker.registry import Registry
from multiworker.worker.scoreboard import Record, Scoreboard
from multiworker.worker.settings import Settings
from multiworker.worker.upkeep import Upkeep
from multiworker.worker.words import NO_QUOTA, State, Wish, Word

log = logging.getLogger("multiworker.worker")

BEAT = 1.0
"""Seconds between two beats of the event loop, at most."""
LAST_RESORT = 1.5
"""Seconds after --stuck-timeout at which a stuck process ends itself; a parent would have done it by then."""
CALM = 5.0
"""Seconds until it shows that it drains, at the latest: until then a request may be under way that claims."""
FAREWELL = 0.5
"""Seconds that cancelled tasks get to end, and then Redis to take them back."""


def worker_id() -> str:
    """Draw a worker's id: host for people, random bits for uniqueness; drawn after fork and never used again."""
    return f"{host_name()}-{os.getpid()}-{secrets.token_hex(8)}"


class Child:
    """The wiring of one child's event loop.

    Args:
        settings: the parent's.
        board: the scoreboard.
        record: this child's record in it.
        registry: the handlers.
        parent: the parent's pid.
        links: its connections to Redis, none of which is open yet.
        drains: called when it begins to drain.
    """

    def __init__(
        self,
        settings: Settings,
        board: Scoreboard,
        record: Record,
        registry: Registry,
        parent: int,
        links: Links,
        drains: Callable[[], None] = lambda: None,
    ) -> None:
        self._settings = settings
        self._record = record
        self._parent = parent
        self._drains = drains
        self._stop = asyncio.Event()
        self._quiet = False
        self._ledger = Ledger()
        self._executor = Executor(registry, settings, links.records)
        self._lanes = [Lane(broker, self._ledger) for broker in links.brokers]
        self._consumer = Consumer(self._lanes, self._executor, settings, self._report, self._quota)
        self._upkeep = Upkeep([lane.broker for lane in self._lanes], board, self._tell_parent)
        self._cards = Cards(self._lanes, record, settings, parent)
        self._limits = Limits(settings)

    async def live(self, *, first: bool) -> int:
        """Connect, consume, drain.

        Returns:
            The exit code.
        """
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._stop.set)
        loop.add_signal_handler(signal.SIGURG, self._look)
        beside = [asyncio.ensure_future(self._beat())]
        try:
            if not await self._connect(time.monotonic() + self._settings.redis_wait if first else None):
                return Exit.OK if self._stop.is_set() else Exit.UNAVAILABLE
            beside += [asyncio.ensure_future(self._upkeep.run()), asyncio.ensure_future(self._cards.run())]
            code = await self._consume()
            if self._record[Word.STATE] == State.SETTLED:  # else Redis does not answer, or tasks still run
                await self._cards.withdraw()
            return code
        finally:
            for task in beside:
                task.cancel()

    async def _connect(self, deadline: float | None) -> bool:
        """Register with every queue, and give back what dead siblings hold.

        Returns:
            False if the deadline has passed, or the child was told to stop.
        """
        self._record[Word.STATE] = State.CONNECT
        failures = 0
        while not self._stop.is_set():
            try:
                await self._register()
                await self._upkeep.recover_lost()
            except RedisUnavailable as error:
                failures += 1
                if failures % 5 == 1:
                    log.warning("waiting for Redis: %s", error)
                if deadline is not None and time.monotonic() >= deadline:
                    log.error("gave up on Redis after %g s: %s", self._settings.redis_wait, error)
                    return False
                pause = exponential(failures, 0.5 + random.random() / 2, base=0.2, cap=2.0)  # noqa: S311 - jitter
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stop.wait(), pause)
            else:
                self._became_ready()
                return True
        return False

    async def _register(self) -> None:
        """Make the worker known under a new id: after a lost reply an old one may be taken by ourselves."""
        worker = self._record.worker = worker_id()
        for lane in self._lanes:
            if not await lane.broker.register(worker):
                raise RedisUnavailable("the worker's id is taken")

    def _became_ready(self) -> None:
        self._record[Word.CONTACT] = self._record[Word.BEAT] = time.monotonic_ns()
        self._record[Word.STATE] = State.READY
        self._tell_parent()

    async def _consume(self) -> int:
        consuming = asyncio.ensure_future(self._consumer.run())
        stopping = asyncio.ensure_future(self._stop.wait())
        await asyncio.wait([consuming, stopping], return_when=asyncio.FIRST_COMPLETED)
        self._consumer.stop()
        self._drains()
        calm = asyncio.ensure_future(self._consumer.calm.wait())
        await asyncio.wait([consuming, calm], timeout=CALM, return_when=asyncio.FIRST_COMPLETED)
        if self._consumer.finished:
            self._record[Word.WISH] = Wish.FINISHED
        self._record[Word.STATE] = State.DRAIN
        self._cards.renew()
        await asyncio.wait([consuming], timeout=self._settings.grace)
        fenced = consuming.done() and isinstance(consuming.exception(), Fenced)
        await self._end_tasks()
        if fenced:
            log.error("fenced: others were told that this worker is dead, or a failover lost it; its tasks are theirs")
            await self._unregister()  # from the queues that still know it
            self._settle_as_lost()
            return Exit.FENCED
        if consuming.done() and consuming.exception():
            await consuming
        await self._give_back(consuming)
        return Exit.OK

    async def _end_tasks(self) -> None:
        tasks = self._consumer.deliveries.abandon()
        if tasks:
            log.warning("%d tasks did not end in time; they are given back", len(tasks))
            await asyncio.wait(tasks, timeout=FAREWELL)

    async def _give_back(self, consuming: "asyncio.Future[None]") -> None:
        """Let Redis know what ended last and return the rest; what still runs is left to the parent to return."""
        await asyncio.wait([consuming], timeout=FAREWELL)
        consuming.cancel()
        left = await self._unregister()
        if left:
            self._settled(Ledger.of(left))
        elif left is not None:
            self._settle_as_lost()

    async def _unregister(self) -> list[Recovered] | None:
        """Leave every queue, and return what is held of it.

        Returns:
            The ledgers of those that knew this worker; None if something still runs, or Redis does not answer.
        """
        if self._consumer.deliveries.running or self._executor.busy_threads:
            return None
        left: list[Recovered] = []
        try:
            async with asyncio.timeout(FAREWELL):
                for lane in self._lanes:
                    left += filter(None, [await lane.broker.recover(lane.broker.worker, "left", "")])
        except (RedisUnavailable, TimeoutError) as error:
            log.warning("tasks could not be given back now: %s", error)
            return None
        return left

    def _settle_as_lost(self) -> None:
        """Others have given back what was held here."""
        self._ledger.given_back += self._consumer.deliveries.held
        self._settled(self._ledger)

    def _settled(self, ledger: Ledger) -> None:
        """Close the books: nothing is held any more."""
        ledger.write(self._record, 0)
        self._record[Word.STATE] = State.SETTLED

    async def _beat(self) -> None:
        """Show the parent that the loop turns, and end the process should it stop turning with no parent to see it."""
        patience = self._settings.stuck_timeout
        while True:
            self._record[Word.BEAT] = time.monotonic_ns()
            self._record[Word.CPU] = time.process_time_ns()
            self._record[Word.MISSED] = max(lane.broker.missed_at for lane in self._lanes)
            faulthandler.dump_traceback_later(patience + LAST_RESORT, exit=True)
            if os.getppid() != self._parent:
                log.warning("the parent is gone: draining")
                self._stop.set()
                return
            if self._limits.reached(self._ledger) or self._executor.runaways:
                self._wish(Wish.RECYCLE)
            self._check_quiet()
            await asyncio.sleep(min(BEAT, patience / 4))

    def _check_quiet(self) -> None:
        quiet = self._record[Word.QUIET] == 1
        if quiet != self._quiet:
            self._quiet = quiet
            log.info("quiet: takes nothing more" if quiet else "takes tasks again")
            self._cards.renew()
            self._consumer.hush(quiet=quiet)

    def _look(self) -> None:
        """The parent changed something on the page."""
        self._check_quiet()
        self._upkeep.look()
        self._consumer.wake()

    def _quota(self) -> int:
        return self._record[Word.QUOTA]

    def _report(self) -> None:
        self._ledger.write(self._record, self._consumer.deliveries.held)
        self._record[Word.CONTACT] = time.monotonic_ns()
        if self._record[Word.QUOTA] != NO_QUOTA:
            self._tell_parent()  # it counts towards --max-tasks and hands out what is left

    def _wish(self, wish: Wish) -> None:
        if self._record[Word.WISH] != wish:
            self._record[Word.WISH] = wish
            self._tell_parent()

    def _tell_parent(self) -> None:
        """Wake the parent: it waits for SIGCHLD among others, and reads the page."""
        if os.getppid() == self._parent:
            os.kill(self._parent, signal.SIGCHLD)
