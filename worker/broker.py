"""The claim protocol of one queue as this child speaks it: request numbers, and one method for each script."""

import hashlib
import time
from collections.abc import Iterable, Sequence
from typing import Literal

from multiworker.worker import answers, commands
from multiworker.worker.answers import Recovered, StepReply
from multiworker.worker.commands import Settle
from multiworker.worker.connections import FreshWire, Wire
from multiworker.worker.errors import Stale
from multiworker.worker.keys import Keys
from multiworker.worker.settings import Settings

PIECE = 256 * 1024
"""Bytes of an oversized payload that are read at once, to hash it."""


class Broker:
    """One queue, and this worker's standing in it.

    Three connections keep what must not wait for each other apart: steps, of which one is under way at a time and whose
    errors call for reconcile; the blocking wait, which owns nothing; and duties, which may be repeated freely. No other
    queue shares them: it may lie on another node of a cluster, and must learn of a failover by an error of its own.

    Args:
        queue: the list's name.
        settings: Redis URL, lease and limits.
    """

    def __init__(self, queue: str, settings: Settings) -> None:
        self.queue = queue
        self.worker = ""
        self._keys = Keys(queue)
        self._settings = settings
        self._lease_ms = round(settings.lease * 1000)
        self._steps = Wire(settings.redis)
        """For register, step and reconcile."""
        self._waits = Wire(settings.redis)
        self._duties = FreshWire(settings.redis)
        """For recover, upkeep, drained and cards."""
        self._no = 0
        self.wait_refused = False
        """Redis refused the last step's wait, as it does when memory is full: it did not wait at all."""

    @property
    def missed_at(self) -> int:
        """Monotonic ns at which a step last failed, or got no answer in time."""
        return self._steps.missed_at

    @property
    def lease(self) -> float:
        """Seconds that Redis keeps a silent worker's tasks for it."""
        return self._settings.lease

    async def register(self, worker: str) -> bool:
        """Make this worker known.

        Args:
            worker: its id, drawn after fork and never used before; also after a lost reply a new one must be drawn.

        Returns:
            False if the id is taken.

        Raises:
            RedisUnavailable: Redis did not answer, or refused.
        """
        self.worker = worker
        reply = await self._steps.ask(commands.register(self._keys, self.worker, self._lease_ms))
        return bool(reply[0] == b"OK")

    async def step(
        self,
        want: int,
        acks: Sequence[str],
        settles: Iterable[Settle],
        *,
        has_turn: bool,
        others: int,
        wait: float = 0.0,
    ) -> StepReply:
        """Acknowledge, settle, claim and renew the lease in one round trip.

        Args:
            want: most tasks to claim.
            acks: delivery ids that are done.
            settles: deliveries that end otherwise.
            has_turn: the last reply said so.
            others: tasks of other queues that this child holds.
            wait: seconds to wait for a push first. Redis takes the step as soon as one comes, which saves an idle
                child a round trip; but nothing else can be asked meanwhile.

        Raises:
            RedisUnavailable: what was done is unknown; reconcile before the next step.
            Stale: nothing was done; reconcile before the next step. Also when the answer took longer than the lease
                allows, for others may have been given what it says.
            Fenced: this worker is dead to the others.
        """
        self._no += 1
        started = time.monotonic()
        command = commands.step(
            self._keys,
            self.worker,
            self._no,
            self._lease_ms,
            want,
            acks,
            settles,
            largest=self._settings.max_payload,
            has_turn=has_turn,
            others=others,
        )
        before = commands.wait(self._keys, wait) if wait else None
        raw, self.wait_refused = await self._steps.ask_after(before, command, extra=wait)
        reply = answers.parse_step(raw)
        self._check_age(started)
        return reply

    async def reconcile(self, known: Iterable[str]) -> tuple[set[str], list[tuple[str, bytes]]]:
        """After an error on the step connection, learn what is held.

        Args:
            known: every delivery id that this child has not seen confirmed as ended.

        Returns:
            The known ids that are not held any more; delivery id and frame of what is held and was not known.

        Raises:
            RedisUnavailable, Stale: try again.
            Fenced: this worker is dead to the others.
        """
        self._no += 1
        started = time.monotonic()
        command = commands.reconcile(self._keys, self.worker, self._no, self._lease_ms, known)
        reply = answers.parse_reconcile(await self._steps.ask(command))
        self._check_age(started)
        return reply

    def _check_age(self, started: float) -> None:
        """Refuse an answer to a request that was sent so long ago that others may have been given what it says."""
        if time.monotonic() - started > self._settings.lease / 2:
            raise Stale("the answer came too late to be trusted")

    async def wait(self, seconds: float) -> None:
        """Wait until an element is pushed, at most so long. It says nothing but "step now".

        Raises:
            RedisUnavailable: Redis did not answer, or refused.
        """
        await self._waits.ask(commands.wait(self._keys, seconds), extra=seconds)

    async def recover(self, worker: str, why: Literal["dead", "left", "expired"], detail: str) -> Recovered | None:
        """Give back what a gone worker holds.

        Args:
            worker: its id.
            why: the proof; ``expired`` is checked by Redis.
            detail: how it ended, for dead letters.

        Returns:
            Its ledger, or None if somebody else did it or it lives.

        Raises:
            RedisUnavailable: try again; it is safe to.
        """
        command = commands.recover(self._keys, worker, why, detail, commands.outage_of(self._lease_ms))
        return answers.parse_recover(await self._duties.ask(command))

    async def upkeep(self) -> list[str]:
        """Return the workers whose lease has run out; and see that this one talks to the primary.

        Raises:
            RedisUnavailable: Redis did not answer, or refused.
        """
        primary = await self._duties.find_primary()
        if primary:
            for wire in (self._steps, self._waits, self._duties):
                wire.expect(primary)
        expired = await self._duties.ask(commands.upkeep(self._keys, self._lease_ms))
        return [worker.decode("utf-8", "replace") for worker in expired]

    async def drained(self) -> bool:
        """Tell whether nothing is left: waiting, scheduled, or in flight on any host.

        Raises:
            RedisUnavailable: Redis did not answer, or refused.
        """
        return bool(await self._duties.ask(commands.drained(self._keys)) == 1)

    async def publish(self, card: bytes, counts: Iterable[tuple[str, int]]) -> None:
        """Leave this worker's card, and add to the counts of this minute.

        Args:
            card: JSON; empty takes the card away.
            counts: what has ended since the last card, as Tally.counts() says it.

        Raises:
            RedisUnavailable: Redis did not answer, or refused.
        """
        await self._duties.ask(commands.card(self._keys, self.worker, card, counts))

    async def hash_oversized(self, task_id: str) -> str:
        """Read an element that is too large to travel piece by piece.

        Returns:
            Its SHA-256 in hexadecimal.

        Raises:
            RedisUnavailable: Redis did not answer, or refused.
        """
        digest = hashlib.sha256()
        start = 0
        while piece := await self._duties.ask(commands.piece(self._keys, task_id, start, PIECE)):
            digest.update(piece)
            start += len(piece)
        return digest.hexdigest()

    async def close(self) -> None:
        """Hang up."""
        for wire in (self._steps, self._waits, self._duties):
            await wire.close()
