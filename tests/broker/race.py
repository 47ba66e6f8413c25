"""Workers race for tasks with priorities: whoever claims must get the best there are."""

import random
import re
from collections.abc import Iterable
from itertools import count

import redis

from multiworker.worker import commands
from multiworker.worker.commands import Settle
from tests.broker.driver import NOON, Driver, Edit

Rank = tuple[int, int, int]
"""The negative priority, when it was ready, and which of these was first."""


def send(driver: Driver, priority: int, *names: str, delay: int = 0) -> None:
    """Send tasks as the client does; their names are their payloads, and their ids as far as a header can have them."""
    if not priority and not delay:
        driver.push(*map(str.encode, names))
        return
    driver.pushed.update(map(str.encode, names))
    driver.call(
        commands.schedule(driver.keys, delay, priority, [(re.sub(r"\W", "-", name), name.encode()) for name in names])
    )


class Race:
    """Three workers, random tasks and fates; each claim must bring the best tasks that there are.

    Args:
        client: a Redis that nobody else uses; it is emptied.
        seed: decides everything.
        edits: faults to put into the scripts.
    """

    def __init__(self, client: redis.Redis, seed: int, edits: Iterable[Edit] = ()) -> None:
        client.flushall()
        self._driver = Driver(client, edits=list(edits), clock=NOON)
        self._chance = random.Random(seed)
        self._order = count()
        self._ready: dict[str, Rank] = {}
        self._put_off: dict[str, Rank] = {}
        self._held: dict[str, dict[str, tuple[str, Rank]]] = {worker: {} for worker in "abc"}
        self._crashed: set[str] = set()

    def go(self) -> None:
        """Run it.

        Raises:
            AssertionError: a task was claimed before a better one.
        """
        for worker in self._held:
            self._driver.register(worker)
        for _ in range(60):
            self._pass(self._chance.choice([0, 0, 1, 40]))
            act = self._chance.choices([self._send, self._leave, self._step], [45, 10, 45])[0]
            act(self._chance.choice("abc"))

    def _pass(self, ms: int) -> None:
        assert self._driver.clock
        self._driver.clock += ms
        for name, rank in list(self._put_off.items()):
            if rank[1] <= self._driver.clock:
                self._ready[name] = self._put_off.pop(name)

    def _line_up(self, name: str, minus_priority: int, delay: int) -> None:
        where = self._put_off if delay else self._ready
        where[name] = minus_priority, (self._driver.clock or 0) + delay, next(self._order)

    def _send(self, _: str) -> None:
        priority, delay = self._chance.choice([-100, -1, 1, 2, 2, 100]), self._chance.choice([0, 0, 0, 30, 100])
        names = [f"t{next(self._order)}" for _ in range(self._chance.randint(1, 4))]
        send(self._driver, priority, *names, delay=delay)
        for name in names:
            self._line_up(name, -priority, delay)

    def _leave(self, worker: str) -> None:
        """It dies, unless that would make suspects, or drains."""
        held = dict(self._held[worker].values())
        dies = not self._crashed & set(held) and self._chance.random() < 0.5
        self._crashed |= set(held) if dies else set()
        self._driver.recover(worker, "dead" if dies else "left")
        self._driver.register(worker)
        self._held[worker].clear()
        self._ready |= held

    def _step(self, worker: str) -> None:
        acks, settles = [], []
        for delivery, (name, rank) in list(self._held[worker].items()):
            fate = self._chance.choice(["ack", "retry", "keep", "keep"])
            if fate == "keep":
                continue
            del self._held[worker][delivery]
            if fate == "ack":
                acks.append(delivery)
            else:
                settles.append(Settle(delivery, "retry", self._chance.choice([0, 20]), ""))
                self._line_up(name, rank[0], int(settles[-1].value))
        want = self._chance.randint(1, 4)
        claims = self._driver.step(worker, want, acks=acks, settles=settles).claims
        claimed = [frame.partition(b"\n")[2].decode() for _, frame in claims]
        assert claimed == sorted(self._ready, key=lambda name: self._ready[name])[:want]
        for (delivery, _), name in zip(claims, claimed, strict=True):
            self._held[worker][delivery] = name, self._ready.pop(name)
