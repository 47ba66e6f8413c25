"""Random histories: workers that die, freeze and lose messages, a Redis that goes away, and an account of it all.

After every operation every task lies in exactly one place and nothing has run twice without an excuse; in the end
everything comes out. The clock is the test's. What is random follows from the seed.
"""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Literal

import redis

from multiworker.worker import answers, commands
from multiworker.worker.commands import Command, Settle
from multiworker.worker.errors import Reason
from tests.broker.driver import LEASE_MS, NOON, Driver, Edit, read_frame

PAYLOADS = (b"A", b"B", b"", b"x\ny", b"1 2 3\nz", b"w 1 0\n", b"\x00\xff")
BYTES_AT = 17
"""Where in a step's command the byte budget stands."""
SUSPECT, BURIED = 2, 5
"""Crashes that make a suspect, and a dead letter; as in lua/prelude.lua."""
Outcome = Literal["ack", "retry", "dead"]


@dataclass(eq=False)
class Worker:
    """A worker as its process sees itself.

    Args:
        name: its id.
        permits: how many tasks it runs at once.
    """

    name: str
    permits: int
    known: dict[str, bytes] = field(default_factory=dict)
    """Delivery -> frame, until a reply has confirmed its end."""
    ended: dict[str, Outcome] = field(default_factory=dict)
    broken: bool = False
    turn: bool = False
    given_up: bool = False
    """A recover has taken what it held: it may be told so."""
    fenced: bool = False
    """It was told."""

    @property
    def running(self) -> list[bytes]:
        """Frames of what has not ended."""
        return [frame for delivery, frame in self.known.items() if delivery not in self.ended]

    @property
    def want(self) -> int:
        """How many it may claim: none beside a suspect."""
        alone = any(read_frame(frame).crashes >= SUSPECT for frame in self.running)
        return 0 if alone else self.permits - len(self.running)


@dataclass(frozen=True)
class Request:
    """A step or reconcile on its way."""

    worker: Worker
    command: Command
    acks: Sequence[str] = ()


class History:
    """One history.

    Args:
        client: a Redis that nobody else uses; it is emptied.
        seed: decides everything.
        edits: faults to put into the scripts.
    """

    def __init__(self, client: redis.Redis, seed: int, edits: Sequence[Edit] = ()) -> None:
        client.flushall()
        self.driver = Driver(client, edits=edits, clock=NOON)
        self.saw: Counter[str] = Counter()
        self._chance = random.Random(seed)
        self._names = count(1)
        self._living = [self._born(), self._born()]
        self._gone: list[Worker] = []
        self._late: list[Request] = []
        self._runs: Counter[bytes] = Counter()
        self._excuses: Counter[bytes] = Counter()

    def go(self) -> None:
        """Live through it.

        Raises:
            AssertionError: a rule was broken.
        """
        chance = self._chance
        self._push(chance.randint(3, 10))
        self.driver.upkeep()
        acts: dict[Callable[[], None], int] = {
            self._step: 45,
            self._finish: 22,
            self._hand_off: 5,
            lambda: self._push(chance.randint(1, 3)): 5,
            self._late_arrival: 6,
            self._kill: 5,
            self._leave: 2,
            self._upkeep: 6,
            self._freeze: 2,
            self._outage: 2,
            self._premature_recover: 6,
        }
        for _ in range(chance.randint(40, 120)):
            self._pass(chance.choice([0, 1, 100, 2000]))
            chance.choices(list(acts), list(acts.values()))[0]()
            self._replace_the_fenced()
            self._compare()
        self._drain()

    def _step(self, worker: Worker | None = None) -> None:
        worker = worker or self._chance.choice(self._living)
        if worker.broken:
            self._reconcile(worker)
            return
        request = self._make_step(worker)
        fault = self._chance.random()
        if fault < 0.12:
            self._late.append(request)  # it arrives some other time
            worker.broken = True
        elif fault < 0.15:
            worker.broken = True  # it never arrives
        elif fault < 0.25:
            self._send(request)
            worker.broken = True
            self.saw["reply lost"] += 1
        elif fault < 0.30:
            if self._send(request)[0] == b"OK":
                assert self._send(request)[0] == b"STALE", "a request was carried out twice"
                self.saw["sent twice"] += 1
            worker.broken = True
        else:
            self._got_step(worker, self._send(request))
            if fault < 0.37:
                self._late.append(request)  # the network has a copy

    def _make_step(self, worker: Worker) -> Request:
        acks = [delivery for delivery, outcome in worker.ended.items() if outcome == "ack"]
        settles = []
        for delivery, outcome in worker.ended.items():
            if outcome == "retry":
                settles.append(Settle(delivery, "retry", self._chance.choice([0, 0, 500]), ""))
            elif outcome == "dead":
                settles.append(Settle(delivery, "dead", Reason.REJECTED, "why"))
        command = commands.step(
            self.driver.keys,
            worker.name,
            self.driver.number(worker.name),
            LEASE_MS,
            worker.want,
            acks,
            settles,
            largest=1000,
            has_turn=worker.turn,
            others=0,
        )
        budget = self._chance.choice([10**6, 10**6, 6])
        return Request(worker, (*command[:BYTES_AT], budget, *command[BYTES_AT + 1 :]), acks)

    def _send(self, request: Request) -> Any:
        return self.driver.call_step(request.command, request.worker.name, request.acks)

    def _got_step(self, worker: Worker, raw: Any) -> None:
        if self._refused(worker, raw):
            return
        reply = answers.parse_step(raw)
        assert not reply.missing, "a task ended that was not held any more"
        worker.turn = reply.turn
        for delivery in worker.ended:
            del worker.known[delivery]
        worker.ended.clear()
        for delivery, frame in reply.claims:
            self._start(worker, delivery, frame)

    def _reconcile(self, worker: Worker) -> None:
        number = self.driver.number(worker.name)
        request = Request(
            worker, commands.reconcile(self.driver.keys, worker.name, number, LEASE_MS, list(worker.known))
        )
        fault = self._chance.random()
        if fault < 0.1:
            self._late.append(request)
            return
        raw = self._send(request)
        if fault < 0.2:
            self.saw["reconcile lost"] += 1
            return
        worker.broken = False
        if self._refused(worker, raw):
            return
        gone, unknown = answers.parse_reconcile(raw)
        for delivery in gone:
            assert delivery in worker.ended, "a task that runs is held no more"
            del worker.known[delivery], worker.ended[delivery]
        for delivery, frame in unknown:
            self.saw["adopted"] += 1
            self._start(worker, delivery, frame)

    def _refused(self, worker: Worker, raw: Any) -> bool:
        if raw[0] == b"FENCED":
            assert worker.given_up, "a living worker was told that it is dead"
            worker.fenced = True
            self.saw["fenced"] += 1
        elif raw[0] == b"STALE":
            worker.broken = True
        return bool(raw[0] != b"OK")

    def _start(self, worker: Worker, delivery: str, raw: bytes) -> None:
        assert delivery not in worker.known, "delivered twice to one worker"
        frame = read_frame(raw)
        if frame.crashes >= SUSPECT:
            assert not worker.known or set(worker.known) == set(worker.ended), "a suspect has company"
            self.saw["suspect"] += 1
        worker.known[delivery] = raw
        self._runs[frame.id] += 1
        assert self._runs[frame.id] <= 1 + self._excuses[frame.id], "run twice without an excuse"
        assert len(worker.running) <= worker.permits, "more tasks than permits"

    def _finish(self) -> None:
        worker = self._chance.choice(self._living)
        for delivery, raw in worker.known.items():
            if delivery not in worker.ended and self._chance.random() < 0.6:
                outcome: Outcome = self._chance.choice(["ack", "ack", "retry", "dead"])
                worker.ended[delivery] = outcome
                self._excuses[read_frame(raw).id] += outcome == "retry"

    def _hand_off(self) -> None:
        self.driver.hand_off()

    def _push(self, number: int) -> None:
        for _ in range(number):
            if self._chance.random() < 0.6:
                self.driver.push(self._chance.choice([*PAYLOADS, b"%d" % self._chance.randrange(10**6), b"x" * 2000]))
            else:
                self._send_with_priority(self._chance.choice(PAYLOADS))

    def _send_with_priority(self, payload: bytes) -> None:
        delay, priority = self._chance.choice([0, 500]), self._chance.choice([-5, 1, 5])
        task = f"task-{next(self._names)}", payload
        self.driver.pushed[payload] += 1
        self.driver.call(commands.schedule(self.driver.keys, delay, priority, [task]))
        self.saw["delayed priority" if delay else "priority"] += 1

    def _late_arrival(self) -> None:
        if not self._late:
            return
        request = self._late.pop(self._chance.randrange(len(self._late)))
        raw = self._send(request)
        self.saw[f"late {raw[0].decode()}"] += 1
        if raw[0] == b"OK":
            assert request.worker.broken or request.worker in self._gone, "a late request of a sound worker was served"

    def _kill(self) -> None:
        worker = self._bury_living()
        self.saw["killed"] += 1
        if self._chance.random() < 0.7:
            for _ in range(2):
                self._recover(worker, "dead")

    def _leave(self) -> None:
        self._recover(self._bury_living(), "left")

    def _bury_living(self) -> Worker:
        worker = self._chance.choice(self._living)
        self._living.remove(worker)
        self._gone.append(worker)
        self._living.append(self._born())
        return worker

    def _recover(self, worker: Worker, why: Literal["dead", "left", "expired"]) -> None:
        """Every task that had started, or after a silence may have, is excused for running once more."""
        held = self.driver.held(worker.name)
        started = {delivery: frame for delivery, frame in held.items() if why == "expired" or delivery in worker.known}
        recovered = self.driver.recover(worker.name, why)
        if not recovered:
            return
        worker.given_up = True
        self.saw[f"recovered {why}"] += 1
        self._excuses.update(read_frame(frame).id for frame in started.values())
        if recovered.buried:
            self.saw["crashed"] += 1
            assert int(self.driver.letters()[-1][b"crashes"]) >= BURIED

    def _upkeep(self) -> None:
        everybody = {worker.name: worker for worker in (*self._living, *self._gone)}
        for name in self.driver.upkeep():
            for _ in range(2):
                self._recover(everybody[name], "expired")

    def _freeze(self) -> None:
        """One worker is silent for longer than its lease; the others go on."""
        frozen = self._chance.choice(self._living)
        self.saw["frozen"] += 1
        for _ in range(12):
            self._pass(5000)
            for worker in self._living:
                if worker is not frozen:
                    self._step(worker)
            self._upkeep()

    def _outage(self) -> None:
        """Redis is away until everybody's lease looks over; what was sent before arrives when it is back."""
        for worker in self._living:
            self._step(worker)
            self._upkeep()
        alive = [worker for worker in self._living if self._has_lease(worker)]
        self._pass(self._chance.choice([50_000, 200_000]))
        self.saw["outage"] += 1
        victim = self._chance.choice(self._living)
        self._recover(victim, "expired")
        for _ in range(9):
            for worker in self._chance.sample(self._living, len(self._living)):
                if self._chance.random() < 0.5:
                    self._upkeep()
                if self._chance.random() < 0.1:
                    self._recover(victim, "expired")
                if self._chance.random() < 0.3:
                    self._step(worker)
            self._pass(4900)
        for worker in alive:
            assert self.driver.client.exists(self.driver.keys.inflight(worker.name)), "reaped after an outage"

    def _premature_recover(self) -> None:
        """Somebody decided long ago to give up a worker whose lease is good by now."""
        worker = self._chance.choice(self._living)
        if self._has_lease(worker):
            assert self.driver.recover(worker.name, "expired") is None, "reaped before the end of its lease"

    def _has_lease(self, worker: Worker) -> bool:
        end = self.driver.client.zscore(self.driver.keys.workers, worker.name)
        return end is not None and end > (self.driver.clock or 0)

    def _replace_the_fenced(self) -> None:
        for worker in list(self._living):
            if worker.fenced:
                self._living.remove(worker)
                self._gone.append(worker)
                self._living.append(self._born())

    def _compare(self) -> None:
        for worker in self._living:
            if not worker.broken and not worker.given_up:
                assert set(self.driver.held(worker.name)) == set(worker.known), "held is not what is known"

    def _born(self) -> Worker:
        worker = Worker(f"w{next(self._names)}", self._chance.randint(1, 3))
        assert self.driver.register(worker.name)
        assert not self.driver.register(worker.name), "two workers have one id"
        return worker

    def _pass(self, milliseconds: int) -> None:
        assert self.driver.clock is not None
        self.driver.clock += milliseconds

    def _drain(self) -> None:
        """Everybody dies, and one last worker without bad luck gets everything done."""
        for worker in (*self._living, *self._gone):
            self._recover(worker, "dead")
        last = self._born()
        for _ in range(300):
            self._pass(1000)
            self._got_step(last, self._send(self._make_step(last)))
            last.ended = dict.fromkeys(last.known, "ack")
            if not last.known and self.driver.drained():
                return
        raise AssertionError("something never came out")
