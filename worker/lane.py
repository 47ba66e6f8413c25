"""What this child holds of one queue, and what of it has ended without Redis having confirmed it."""

import asyncio
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field

from multiworker.worker.answers import StepReply
from multiworker.worker.broker import Broker
from multiworker.worker.commands import Settle
from multiworker.worker.errors import RedisUnavailable
from multiworker.worker.executor import Run
from multiworker.worker.ledger import Ledger, Tally
from multiworker.worker.outcome import Dead, RetryIn

log = logging.getLogger("multiworker.worker")


@dataclass(eq=False)
class Lane:
    """One queue of this child. All of it belongs to the event loop; nothing here locks.

    Args:
        broker: speaks to Redis for this queue.
        ledger: the child's, shared by its lanes.
    """

    broker: Broker
    ledger: Ledger
    running: dict[str, Run] = field(default_factory=dict)
    """Delivery id -> run that has not ended."""
    tally: Tally = field(default_factory=Tally)
    """What ended lately, for the next card."""
    abandoned: list[str] = field(default_factory=list)
    """Deliveries whose run was cancelled because the child leaves; still held, for others to run."""
    hashing: set[str] = field(default_factory=set)
    """Deliveries too large to travel, on their way to the dead letters."""
    acks: list[str] = field(default_factory=list)
    settles: list[Settle] = field(default_factory=list)
    """What ended since the last step was sent."""
    sent_acks: list[str] = field(default_factory=list)
    sent_settles: list[Settle] = field(default_factory=list)
    """What the last step said, until a reply confirms it."""
    ready: bool = True
    """There may be something to claim."""
    empty: bool = False
    """The last claim found nothing at all."""
    broken: bool = False
    """It is unknown what the last request did: reconcile first."""
    failures: int = 0
    """Requests in a row that failed, since the last step that did not."""
    mend_at: float = 0.0
    """Loop time from which on a broken lane may be tried again."""
    unheard: bool = False
    """Not even reconcile has worked lately."""
    turn: bool = False
    """This child is to run empty for a suspect."""
    due_at: float = math.inf
    """Loop time at which a scheduled task is due."""
    renew_at: float = 0.0
    """Loop time at which the lease is to be renewed."""
    idle: asyncio.Event = field(default_factory=asyncio.Event)
    """Set to have the waiter wait for a push."""
    waiting: bool = False
    """The waiter does so."""

    @property
    def has_news(self) -> bool:
        """Something ended that Redis does not know of."""
        return bool(self.acks or self.settles)

    @property
    def next_at(self) -> float:
        """Loop time at which there is something to do, if nothing happens until then."""
        return self.mend_at if self.broken else min(self.due_at, self.renew_at)

    @property
    def held(self) -> int:
        """Deliveries that Redis has in this child's name, as far as it knows."""
        ended = len(self.acks) + len(self.settles) + len(self.sent_acks) + len(self.sent_settles)
        return len(self.running) + ended + len(self.abandoned) + len(self.hashing)

    def settle(self, delivery: str, outcome: RetryIn | Dead) -> None:
        """Note how a delivery ends, for the next step."""
        if isinstance(outcome, RetryIn):
            self.settles.append(Settle(delivery, "retry", round(outcome.delay * 1000), ""))
        else:
            self.settles.append(Settle(delivery, "dead", outcome.reason, outcome.detail))

    async def step(self, want: int, others: int, wait: float = 0.0) -> StepReply:
        """Send what ended, claim up to `want`, and book what the reply confirms.

        Raises:
            RedisUnavailable, Stale: what was done is unknown; `broken` is set.
            Fenced: this child is dead to the others.
        """
        self.sent_acks, self.acks = self.acks, []
        self.sent_settles, self.settles = self.settles, []
        self.broken = True
        reply = await self.broker.step(
            want, self.sent_acks, self.sent_settles, has_turn=self.turn, others=others, wait=wait
        )
        self.broken = False
        self._confirm(reply)
        return reply

    async def wait_for_pushes(self, interval: float, wake: Callable[[], None]) -> None:
        """Have Redis wake this child at a push, whenever `idle` is set. What comes of it only means: step now.

        Args:
            interval: seconds that one wait lasts at most.
            wake: called when it is over.
        """
        while True:
            await self.idle.wait()
            self.idle.clear()
            self.waiting = True
            try:
                await self.broker.wait(interval)
            except RedisUnavailable as error:
                log.debug("queue %s: wait: %s", self.broker.queue, error)
                await asyncio.sleep(interval)
            self.waiting = False
            self.ready = True
            wake()

    async def reconcile(self) -> list[tuple[str, bytes]]:
        """Find out what the lost request did.

        Returns:
            Deliveries that this child holds without knowing, to be started.

        Raises:
            RedisUnavailable, Stale: try again.
            Fenced: this child is dead to the others.
        """
        sent = self.sent_acks + [settle.delivery for settle in self.sent_settles]
        unsent = self.acks + [settle.delivery for settle in self.settles]
        gone, unknown = await self.broker.reconcile([*self.running, *self.abandoned, *self.hashing, *sent, *unsent])
        self.broken = False
        # Critical section: a delivery that is gone and was sent was carried out; one that is still held was not.
        done = sum(delivery in gone for delivery in self.sent_acks)
        self.ledger.done += done
        self.tally.done += done
        for settle in self.sent_settles:
            if settle.delivery in gone:
                self._book(settle)
        self.acks = [ack for ack in self.sent_acks + self.acks if ack not in gone]
        self.settles = [settle for settle in self.sent_settles + self.settles if settle.delivery not in gone]
        self.sent_acks, self.sent_settles = [], []
        self.ledger.claimed += len(unknown)
        self._drop(gone.difference(sent))
        return unknown

    def _confirm(self, reply: StepReply) -> None:
        ledger = self.ledger
        ledger.claimed += len(reply.claims) + reply.buried
        ledger.dead += reply.buried
        ledger.done += reply.acknowledged
        self.tally.dead += reply.buried
        self.tally.done += reply.acknowledged
        missing = len(self.sent_acks) - reply.acknowledged + len(reply.missing)
        if missing:
            ledger.given_back += missing
            log.error("%d tasks ended that Redis no longer held for this worker; they may run again", missing)
        for settle in self.sent_settles:
            if settle.delivery not in reply.missing:
                self._book(settle)
        self.sent_acks, self.sent_settles = [], []

    def _book(self, settle: Settle) -> None:
        if settle.kind == "retry":
            self.ledger.retried += 1
            self.tally.retried += 1
        else:
            self.ledger.dead += 1
            self.tally.dead += 1

    def _drop(self, lost: set[str]) -> None:
        """Stop runs that Redis holds for this worker no longer; only a foreign hand can cause that."""
        for delivery in lost:
            self.ledger.given_back += 1
            run = self.running.pop(delivery, None)
            if run:
                run.dropped = True
            if run and run.task:
                log.error("a running task is no longer held", extra={"task": {"id": run.label}})
                run.task.cancel()
