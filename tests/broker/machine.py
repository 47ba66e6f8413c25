"""Every script in any order, with any arguments: Redis and the reference must do and say the same."""

from collections import Counter
from collections.abc import Sequence
from itertools import count
from typing import Any, Literal

import hypothesis.strategies as st
import redis
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from multiworker.worker import commands, inquiries
from multiworker.worker.commands import OUTAGE_MS, TURN_MS, Command, Settle
from tests.broker.driver import NOON, Driver, Edit
from tests.broker.history import BYTES_AT
from tests.broker.reference import Books, Reference, payload_of, weight
from tests.broker.reference_step import Step
from tests.broker.snapshot import PARTS, snapshot
from tests.broker.strategies import (
    BRIEF_MS,
    ENDINGS,
    LARGEST,
    LEASE_MS,
    LIMITS,
    SMALL,
    WORKERS,
    Ask,
    Ending,
    a_number,
    a_worker,
    endings,
    fates,
    headers,
    payloads,
    priorities,
    some,
)


class Protocol(RuleBasedStateMachine):
    """One queue, three worker ids that come and go.

    Args:
        client: a Redis that nobody else uses; it is emptied.
        edits: faults to put into the scripts.
    """

    def __init__(self, client: redis.Redis, edits: Sequence[Edit] = ()) -> None:
        super().__init__()
        client.flushall()
        client.config_set("hash-max-ziplist-value", "4096")  # else a long frame has Redis forget the order of a hash
        self.driver = Driver(client, edits=(*SMALL, *edits), clock=NOON)
        self.reference = Reference(LIMITS, NOON)
        self.pushed: Counter[bytes] = Counter()
        self._unique = count()
        self._numbers = dict.fromkeys(WORKERS, 0)
        self._entries: list[str] = []

    @initialize(proven=st.booleans())
    def begin(self, proven: bool) -> None:  # noqa: FBT001 - hypothesis passes it by name
        """Everybody is known; they may have done something already, without which nobody is given a suspect."""
        for worker in WORKERS:
            self.register(worker)
            if proven:
                self.push([b"A"])
                self.work(worker, 1, ["ack"])
                self.work(worker, 1, ["ack"])

    @rule(given=st.lists(payloads, min_size=1, max_size=5))
    def push(self, given: list[bytes]) -> None:
        self.driver.do("LPUSH", self.driver.keys.queue, *given)
        self.reference.queue += given
        self.pushed.update(known_by(payload) for payload in given if payload)

    @rule(
        delay=st.sampled_from((0, 0, 1, 3_000)),
        priority=priorities,
        given=st.lists(st.tuples(st.sampled_from(("twin", "twin", "id")), payloads), min_size=1, max_size=3),
    )
    def schedule(self, delay: int, priority: int, given: list[tuple[str, bytes]]) -> None:
        told = self._call(commands.schedule(self.driver.keys, delay, priority, given))
        assert told == self.reference.schedule(delay, priority, given)
        self.pushed.update(known_by(payload) for _, payload in given)

    @rule(
        key=st.sampled_from(("priority", "deferred", "scheduled")),
        order=st.integers(-2, 2),
        header=headers,
        payload=payloads,
    )
    def forge(self, key: str, order: int, header: bytes, payload: bytes) -> None:
        """Somebody else writes into our sorted sets."""
        frame = self._forge(header, payload)
        score = order if key == "priority" else NOON + order * 1_000
        self.driver.do("ZADD", getattr(self.driver.keys, key), score, frame)
        getattr(self.reference, key)[frame] = score

    @rule(header=headers, payload=payloads)
    def suspect(self, header: bytes, payload: bytes) -> None:
        frame = self._forge(header, payload)
        self.driver.do("LPUSH", self.driver.keys.suspects, frame)
        self.reference.suspects.append(frame)

    @rule(worker=a_worker, want=st.integers(4, 6))
    def all_is_ready_at_once(self, worker: bytes, want: int) -> None:
        """Bells, and tasks that are due or have a low priority."""
        self.push([b""] * 4)
        self.schedule(0, 0, [("id", b"A")] * 4)
        self.schedule(0, -1, [("id", b"B")] * 2)
        self.work(worker, want, ["keep"])

    @rule()
    def hand_off(self) -> None:
        self.driver.hand_off()
        if self.reference.queue:
            self.reference.handoff.append(self.reference.queue.pop(0))

    @rule(worker=a_worker)
    def register(self, worker: bytes) -> None:
        told = self._call(commands.register(self.driver.keys, worker.decode(), LEASE_MS))
        assert told == self.reference.register(worker, LEASE_MS)

    @rule(worker=a_worker, want=st.integers(1, 6), chosen=fates, budget=st.sampled_from((10**6, 10**6, 10)))
    def work(self, worker: bytes, want: int, chosen: list[str], budget: int = 10**6) -> None:
        """A step as a sound worker sends it."""
        held = list(self.reference.books.get(worker, Books()).held)
        fate = dict(zip(held, chosen * len(held), strict=False))
        acks = [delivery for delivery in held if fate[delivery] == "ack"]
        settles = [Settle(one.decode(), *ENDINGS[fate[one]]) for one in held if fate[one] in ENDINGS]
        self._take(Ask(worker, self._number(worker, "next"), want, acks, settles, budget=budget))

    @rule(worker=a_worker, want=st.integers(1, 3))
    def die_with_new_work(self, worker: bytes, want: int) -> None:
        """Its process dies just after two claims, and another one begins."""
        for _ in range(2):
            self._take(Ask(worker, self._number(worker, "next"), want))
        self.recover(worker, "dead")
        self.register(worker)

    @rule(
        worker=a_worker,
        number=a_number,
        lease=st.sampled_from((LEASE_MS, LEASE_MS, BRIEF_MS)),
        want=st.integers(0, 6),
        budget=st.sampled_from((10**6, 30, 10)),
        has_turn=st.booleans(),
        others=st.sampled_from((0, 0, 1)),
        acked=some,
        settled=st.lists(st.tuples(st.integers(0, 5), endings), max_size=3),
    )
    def step(
        self,
        worker: bytes,
        number: str,
        lease: int,
        want: int,
        budget: int,
        has_turn: bool,  # noqa: FBT001
        others: int,
        acked: list[int],
        settled: list[tuple[int, Ending]],
    ) -> None:
        acks = [self._delivery(worker, place) for place in acked]
        settles = [Settle(self._delivery(worker, place).decode(), *ending) for place, ending in settled]
        self._take(Ask(worker, self._number(worker, number), want, acks, settles, lease, budget, has_turn, others))

    @rule(worker=a_worker, number=a_number, known=some)
    def reconcile(self, worker: bytes, number: str, known: list[int]) -> None:
        no = self._number(worker, number)
        ids = [self._delivery(worker, place) for place in known]
        told = self._call(commands.reconcile(self.driver.keys, worker.decode(), no, LEASE_MS, map(bytes.decode, ids)))
        assert told == self.reference.reconcile(worker, no, LEASE_MS, ids)

    @rule(worker=a_worker, why=st.sampled_from(("dead", "dead", "left", "expired", "expired", "expired")))
    def recover(self, worker: bytes, why: Literal["dead", "left", "expired"]) -> None:
        told = self._call(commands.recover(self.driver.keys, worker.decode(), why, "signal 9"))
        assert told == self.reference.recover(worker, why, b"signal 9", OUTAGE_MS)

    @rule()
    def upkeep(self) -> None:
        told = self._call(commands.upkeep(self.driver.keys, LEASE_MS))
        assert told == self.reference.upkeep(OUTAGE_MS, LEASE_MS)

    @rule(ms=st.sampled_from((0, 1, 1_000, 5_000, 14_000, 15_001, 46_000)))
    def time_passes(self, ms: int) -> None:
        self.reference.now += ms
        self.driver.clock = self.reference.now

    @rule(worker=a_worker)
    def a_minute_passes(self, worker: bytes) -> None:
        """Everybody but one is silent, and a grace ends."""
        for _ in range(4):
            self.time_passes(14_000)
            self.upkeep()
            self.work(worker, 1, ["keep"])

    @rule(worker=a_worker)
    def outage_passes(self, worker: bytes) -> None:
        """Everybody's lease is over, and somebody wants to take advantage of that."""
        self.time_passes(46_000)
        self.recover(worker, "expired")
        self.upkeep()
        self.recover(worker, "expired")

    @rule(numbers=some)
    def requeue(self, numbers: list[int]) -> None:
        told = self._call(inquiries.requeue(self.driver.keys, map(self._entry, numbers)))
        assert told == self.reference.requeue(numbers)

    @rule(numbers=some)
    def discard(self, numbers: list[int]) -> None:
        told = self._call(inquiries.discard(self.driver.keys, map(self._entry, numbers)))
        assert told == self.reference.discard(numbers)

    @rule(everything=st.sampled_from((False, False, True)))
    def purge(self, everything: bool) -> None:  # noqa: FBT001
        told = self._call(inquiries.purge(self.driver.keys, everything=everything))
        assert told == self.reference.purge(everything=everything)

    @rule()
    def look(self) -> None:
        assert self._call(commands.drained(self.driver.keys)) == self.reference.drained()
        assert self._call(inquiries.depths(self.driver.keys)) == self.reference.depths()

    @rule(
        part=st.sampled_from(
            ("queue", "handoff", "scheduled", "priority", "deferred", "suspects", "dead", "counters", "held")
        ),
        worker=a_worker,
        script=st.sampled_from(("step", "recover", "requeue", "discard", "purge", "schedule")),
    )
    def wrong_type(self, part: str, worker: bytes, script: str) -> None:
        """A key of a wrong type: the call fails, with nothing done."""
        keys, name = self.driver.keys, worker.decode()
        held = [self._delivery(worker, place) for place in range(3)]
        settles = [Settle(held[1].decode(), "retry", 0, ""), Settle(held[2].decode(), "dead", "rejected", "")]
        calls = {
            "step": self._step(Ask(worker, self._number(worker, "next"), 3, held[:1], settles)),
            "recover": commands.recover(keys, name, "dead", ""),
            "requeue": inquiries.requeue(keys, map(self._entry, range(3))),
            "discard": inquiries.discard(keys, map(self._entry, range(3))),
            "purge": inquiries.purge(keys, everything=True),
            "schedule": commands.schedule(keys, 0, 1, [("never", b"")]),
        }
        key = keys.inflight(name if script in ("step", "recover") else "") if part == "held" else getattr(keys, part)
        existed = self.driver.do("EXISTS", key)
        if existed:
            self.driver.do("RENAME", key, "aside")
        self.driver.do("SET", key, "a string")
        try:
            told = self._call(calls[script])
        except redis.ResponseError as error:
            told = str(error)
        assert "WRONGTYPE" in told, f"{script} did not mind that {key} is a string"
        self.driver.do("DEL", key)
        if existed:
            self.driver.do("RENAME", "aside", key)

    @invariant()
    def both_are_alike(self) -> None:
        found = snapshot(self.driver)
        self._entries = found["entries"]
        for part in PARTS:
            assert found[part] == getattr(self.reference, part), part
        self._count(found)

    def _count(self, found: dict[str, Any]) -> None:
        """Everything pushed is in one place, and the books that Redis has add up."""
        places = [
            *filter(None, (*found["queue"], *found["handoff"])),
            *(letter[b"payload"] for letter in found["letters"]),
        ]
        for part in ("scheduled", "priority", "deferred", "suspects"):
            places += map(payload_of, found[part])
        for worker, books in found["books"].items():
            assert worker in found["workers"], f"nobody will ever look at what {worker!r} holds"
            assert books.claimed == books.done + books.retried + books.dead + len(books.held), books
            places += map(payload_of, books.held.values())
        assert Counter(map(known_by, (*places, *self.reference.left))) == self.pushed
        assert found["counters"].get(b"dead_bytes", 0) == sum(map(weight, found["letters"]))

    def _call(self, command: Command) -> Any:
        return self.driver.call(command)

    def _take(self, ask: Ask) -> None:
        step = Step(
            self.reference,
            ask.worker,
            ask.no,
            ask.lease,
            ask.want,
            ask.budget,
            LARGEST,
            TURN_MS,
            ask.has_turn,
            ask.others,
        )
        assert self._call(self._step(ask)) == step.carry_out(ask.acks, ask.settles)

    def _step(self, ask: Ask) -> Command:
        command = commands.step(
            self.driver.keys,
            ask.worker.decode(),
            ask.no,
            ask.lease,
            ask.want,
            [ack.decode() for ack in ask.acks],
            ask.settles,
            largest=LARGEST,
            has_turn=ask.has_turn,
            others=ask.others,
        )
        return (*command[:BYTES_AT], ask.budget, *command[BYTES_AT + 1 :])

    def _number(self, worker: bytes, which: str) -> int:
        last = self._numbers[worker]
        number = {"next": last + 1, "again": last, "old": max(0, last - 2), "far": last + 5}[which]
        self._numbers[worker] = max(last, number)
        return number

    def _delivery(self, worker: bytes, place: int) -> bytes:
        """Name a delivery that the worker holds, or one that does not exist."""
        books = self.reference.books.get(worker)
        held = list(books.held) if books else []
        return held[place] if place < len(held) else b"9999.%d" % place

    def _entry(self, number: int) -> str:
        return self._entries[number] if number < len(self._entries) else "1-1"

    def _forge(self, header: bytes, payload: bytes) -> bytes:
        frame = header % next(self._unique) + payload
        self.pushed[known_by(payload_of(frame))] += 1
        return frame


def known_by(payload: bytes) -> bytes:
    """A payload, or the head that is kept of a large one."""
    return payload if len(payload) <= LIMITS.whole else payload[: LIMITS.head]
