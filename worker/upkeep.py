"""The duties that any child may do at any time: give back what gone workers hold."""

import asyncio
import logging
import os
import random
import time
from collections.abc import Callable, Sequence
from typing import Literal

from multiworker.worker.answers import Recovered
from multiworker.worker.broker import Broker
from multiworker.worker.errors import RedisUnavailable
from multiworker.worker.ledger import Ledger
from multiworker.worker.scoreboard import Record, Scoreboard
from multiworker.worker.words import State, Why, Word

log = logging.getLogger("multiworker.worker")

INTERVAL, LONG_LEASE = 5.0, 45.0
"""Seconds between two looks at leases of that length or more, a third of the age at which a missing look means that
Redis was away; shorter leases are looked at as much more often."""
SHORTEST_INTERVAL = 0.1
"""Seconds."""
BOOKED_BY_OTHERS = 2_000_000_000
"""Nanoseconds that a sibling which has recovered a worker gets to write the worker's ledger down."""


class Upkeep:
    """Looks after siblings that died (at once, told by the parent) and workers elsewhere whose lease ran out.

    Args:
        brokers: one for each queue.
        board: where the parent marks dead siblings.
        tell_parent: called when a sibling's tasks have been given back.
    """

    def __init__(self, brokers: Sequence[Broker], board: Scoreboard, tell_parent: Callable[[], None]) -> None:
        self._brokers = brokers
        self._board = board
        self._tell_parent = tell_parent
        self._look = asyncio.Event()
        shortest = min([LONG_LEASE, *(broker.lease for broker in brokers)])
        self._interval = max(SHORTEST_INTERVAL, INTERVAL * shortest / LONG_LEASE)

    def look(self) -> None:
        """Look at the scoreboard now: the parent has marked somebody."""
        self._look.set()

    async def run(self) -> None:
        """Do the duties until cancelled."""
        while True:
            self._look.clear()  # before the duties: a look that is wanted while they are done is still to come
            try:
                await self.recover_lost()
                await self._reap_expired()
            except RedisUnavailable as error:
                log.debug("upkeep: %s", error)
            try:
                async with asyncio.timeout(self._interval * random.uniform(0.8, 1.2)):  # noqa: S311 - spread over children
                    await self._look.wait()
            except TimeoutError:
                continue
            await self._recover_told()

    async def recover_lost(self) -> None:
        """Give back the tasks of every sibling that is marked as lost.

        Raises:
            RedisUnavailable: not all of them could be.
        """
        trouble: RedisUnavailable | None = None
        for record in self._board.present:
            if record[Word.STATE] == State.LOST and record[Word.RECOVERER] in (0, os.getpid()):
                try:
                    await self._recover(record)
                except RedisUnavailable as error:
                    trouble = error  # one that cannot be must not keep the others from it
        if trouble:
            raise trouble

    async def _recover_told(self) -> None:
        try:
            await self.recover_lost()
        except RedisUnavailable as error:
            log.warning("a dead sibling's tasks are still to be given back: %s", error)

    async def _recover(self, record: Record) -> None:
        worker, ending = record.worker, record.ending
        how = f"signal {-ending}" if ending < 0 else f"exit code {ending}"
        why: Literal["left", "dead"] = "left" if record[Word.WHY] == Why.LEFT else "dead"
        found: list[Recovered] = []
        for broker in self._brokers:
            recovered = await broker.recover(worker, why, f"its process ended by {how}")
            if recovered:
                found.append(recovered)
        if record[Word.STATE] != State.LOST or record.worker != worker:
            return  # another sibling was quicker
        if found:
            Ledger.of(found).write(record, 0)  # what it wrote itself may be older than its death
            log.info("worker %s ended by %s: %d tasks given back", worker, how, sum(one.given_back for one in found))
        elif time.monotonic_ns() - record[Word.LOST_AT] < BOOKED_BY_OTHERS:
            return  # somebody else has recovered it, or its lease ran out; whoever it was knows the numbers
        else:
            log.warning("worker %s ended by %s: others gave its tasks back; its ledger is as it left it", worker, how)
            record[Word.GIVEN_BACK] += record[Word.IN_FLIGHT]
            record[Word.IN_FLIGHT] = 0
        record[Word.STATE] = State.SETTLED
        self._tell_parent()

    async def _reap_expired(self) -> None:
        for broker in self._brokers:
            for worker in await broker.upkeep():
                recovered = await broker.recover(worker, "expired", "its lease ran out")
                if recovered:
                    log.warning("worker %s was silent too long: %d tasks given back", worker, recovered.given_back)
