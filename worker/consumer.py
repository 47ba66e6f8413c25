"""The child's main loop: a group commit.

While one round trip to Redis is under way, finished tasks and free permits gather; the next step acknowledges all of
them and claims as many as there are permits. Nothing is ever claimed that cannot start at once.
"""

import asyncio
import logging
import math
from collections.abc import Callable, Sequence

from multiworker.worker.courtesy import Courtesy
from multiworker.worker.deliveries import Deliveries
from multiworker.worker.errors import RedisUnavailable, Stale
from multiworker.worker.executor import Executor
from multiworker.worker.lane import Lane
from multiworker.worker.settings import Settings
from multiworker.worker.trouble import Trouble

log = logging.getLogger("multiworker.worker")

RENEW = 5.0
"""Seconds between two renewals of the lease at the latest; a ninth of the default lease."""
SHORTEST_WAIT = 0.005
"""Seconds; Redis takes a wait of 0 for one without end, and rounds to 1 ms."""


class Consumer:
    """Takes tasks from its lanes, in strict order, and runs up to `concurrency` of them at once.

    Args:
        lanes: one for each queue, the first is served first.
        executor: runs the tasks.
        settings: concurrency, batch size, interval, lease.
        report: called after every change that the scoreboard shows.
        quota: how many tasks this child may claim in its life; asked before every claim.
    """

    def __init__(
        self,
        lanes: Sequence[Lane],
        executor: Executor,
        settings: Settings,
        report: Callable[[], None],
        quota: Callable[[], int],
    ) -> None:
        self._lanes = lanes
        self._settings = settings
        self._report = report
        self._quota = quota
        self._renew = min(RENEW, settings.lease / 4)
        self._wake = asyncio.Event()
        self._stopping = False
        self._loop = asyncio.get_running_loop()
        self._trouble = Trouble()
        self._courtesy = Courtesy()
        self._quiet = False
        self._blocked: asyncio.Task[None] | None = None
        self.deliveries = Deliveries(lanes, executor, self._wake.set)
        """What it holds, of all lanes."""
        self.calm = asyncio.Event()
        """After stop(): no request that could claim anything is under way any more."""
        self.finished = False
        """--burst: nothing was left to do."""

    def stop(self) -> None:
        """Claim nothing more; run() ends when everything held has ended and Redis knows. May be called again."""
        self._stopping = True
        self._interrupt()

    def hush(self, *, quiet: bool) -> None:
        """Claim nothing more until told otherwise."""
        self._quiet = quiet
        self._interrupt()
        self.wake()

    def wake(self) -> None:
        """Look again at once: what may be claimed has changed."""
        for lane in self._lanes:
            lane.ready = True
        self._wake.set()

    async def run(self) -> None:
        """Consume until stop() was called and all that is held has ended, or --burst finds nothing left.

        Raises:
            Fenced: this child is dead to the others.
        """
        waiters = [
            asyncio.ensure_future(lane.wait_for_pushes(self._settings.interval, self._wake.set)) for lane in self._lanes
        ]
        try:
            while not self._is_over():
                self._wake.clear()
                stepped = await self._round()
                await asyncio.sleep(0)  # what was just started gets its turn; short tasks end in it
                if stepped or self._wake.is_set():
                    self._courtesy.busy()
                    continue
                self._courtesy.rest()
                if self._settings.burst and await self._nothing_left():
                    self.finished = self._stopping = True
                elif self._idle_time() > SHORTEST_WAIT:
                    await self._step_when_pushed()
                else:
                    await self._sleep()
        finally:
            for waiter in waiters:
                waiter.cancel()

    def _is_over(self) -> bool:
        """Tell whether all has ended after stop(); from here on, what is under way claims nothing."""
        if self._stopping:
            self.calm.set()
        return self._stopping and self.deliveries.are_abandoned

    async def _round(self) -> bool:
        """Give every lane that has a reason one step.

        A later lane claims only after every earlier one has been asked in the same round and has nothing more.
        """
        stepped = False
        for number, lane in enumerate(self._lanes):
            if lane.broken:
                await self._mend(lane)
            if lane.broken:
                lane.ready = False  # it is not this queue's turn, and the others need not wait for it
                continue
            now = self._loop.time()
            if now >= lane.due_at:
                lane.due_at, lane.ready = math.inf, True
            want = 0 if number and any(earlier.ready for earlier in self._lanes[:number]) else self._want(lane)
            claims = want > 0 and (lane.ready or any(later.ready for later in self._lanes[number + 1 :]))
            if lane.has_news or claims or now >= lane.renew_at:
                await self._step(lane, want)
                stepped = True
        return stepped

    def _want(self, lane: Lane) -> int:
        """How many tasks may be claimed now."""
        if self._stopping or self._quiet or self.deliveries.alone:
            return 0
        if len(self._lanes) > 1 and any(other.turn for other in self._lanes if other is not lane):
            return 0
        permits = self._settings.concurrency - self.deliveries.running
        return max(0, min(permits, self._settings.claim, self._quota() - lane.ledger.claimed))

    async def _step(self, lane: Lane, want: int, wait: float = 0.0) -> None:
        lane.renew_at = self._loop.time() + self._renew
        try:
            reply = await lane.step(want, self.deliveries.held_beside(lane), wait)
        except (RedisUnavailable, Stale) as error:
            self._trouble.met(lane, "", error, self._loop.time())
            return
        lane.failures = 0
        lane.turn = reply.turn
        runs = self.deliveries.accept(lane, reply.claims)
        if want:
            lane.ready = reply.more and not reply.turn
            lane.empty = not (reply.more or reply.claims)
            lane.due_at = math.inf
            if reply.turn:
                lane.due_at = self._loop.time() + self._settings.interval  # to see whether the turn is over
            elif reply.next_due >= 0:
                lane.due_at = self._loop.time() + max(0.0, (reply.next_due - reply.now) / 1000)
        self._report()
        self.deliveries.start(runs)

    def _idle_time(self) -> float:
        """Return the seconds for which nothing but a push can concern this child; 0 if something can.

        With one queue, nothing held and no wait under way elsewhere, the step itself can wait for the push.
        """
        lane = self._lanes[0]
        if len(self._lanes) > 1 or lane.waiting or lane.turn or lane.held or lane.ready or lane.broken:
            return 0.0
        if not self._want(lane):
            return 0.0
        now = self._loop.time()
        return min(self._settings.interval, self._renew, self._settings.lease / 4, lane.due_at - now)

    async def _step_when_pushed(self) -> None:
        lane = self._lanes[0]
        step = self._blocked = self._loop.create_task(self._step(lane, self._want(lane), self._idle_time()))
        try:
            await step
        except asyncio.CancelledError:
            if self._blocked is step:
                raise
            log.debug("interrupted while idle")  # it is unknown whether a push came just then: the lane is broken
        finally:
            self._blocked = None
        if lane.broker.wait_refused:
            await asyncio.sleep(self._settings.interval)

    def _interrupt(self) -> None:
        """Hang up on a step that waits for a push; reconcile finds out whether one has come."""
        self._wake.set()
        if self._blocked is not None:
            self._blocked.cancel()
            self._blocked = None

    async def _mend(self, lane: Lane) -> None:
        """Reconcile, if it is time to try; the tasks go on meanwhile, and what ends is kept."""
        if self._loop.time() < lane.mend_at:
            return
        try:
            unknown = await lane.reconcile()
        except (RedisUnavailable, Stale) as error:
            if self._stopping:
                self.calm.set()
            self._trouble.met(lane, "still no Redis: ", error, self._loop.time())
            lane.unheard = True
            return
        if lane.unheard or unknown:
            log.info("queue %s: Redis is back, %d tasks adopted", lane.broker.queue, len(unknown))
        lane.unheard = False
        runs = self.deliveries.accept(lane, unknown)
        lane.ready = True
        self._report()
        self.deliveries.start(runs)

    async def _sleep(self) -> None:
        for lane in self._lanes:
            if not (lane.ready or lane.waiting or lane.turn or lane.broken) and self._want(lane):
                lane.idle.set()
        deadline = min([lane.next_at for lane in self._lanes])
        alarm = self._loop.call_at(deadline, self._wake.set)
        await self._wake.wait()
        alarm.cancel()

    async def _nothing_left(self) -> bool:
        if self.deliveries.held or not all(lane.empty for lane in self._lanes):
            return False
        for lane in self._lanes:
            lane.empty = False  # ask again only after the next look
        try:
            return all([await lane.broker.drained() for lane in self._lanes])
        except RedisUnavailable:
            return False
