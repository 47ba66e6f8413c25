"""Every script in any order, with any arguments: Redis and the reference must do and say the same."""

from collections import Counter
from collections.abc import Sequence
from itertools import count
from typing import Any, Literal, NamedTuple

import hypothesis.strategies as st
import redis
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from multiworker.worker import commands
from multiworker.worker.commands import OUTAGE_MS, TURN_MS, Command, Settle
from tests.broker.driver import NOON, Driver, Edit
from tests.broker.history import BYTES_AT
from tests.broker.reference import Books, Limits, Reference, payload_of, weight
from tests.broker.reference_step import Step

LIMITS = Limits()
SMALL = (
    Edit("local WHOLE, HEAD = 1048576, 4096", f"local WHOLE, HEAD = {LIMITS.whole}, {LIMITS.head}"),
    Edit("DEAD_MOST_BYTES = 100000, 268435456", f"DEAD_MOST_BYTES = {LIMITS.letters}, {LIMITS.letter_bytes}"),
    Edit("local CHUNK, MOST_CHUNKS = 20, 64", f"local CHUNK, MOST_CHUNKS = {LIMITS.chunk}, {LIMITS.chunks}", "step"),
)
LEASE_MS, BRIEF_MS, LARGEST = 45_000, 1_000, 20
WORKERS = (b"a", b"b", b"c")
PARTS = (
    "queue",
    "handoff",
    "scheduled",
    "priority",
    "suspects",
    "letters",
    "counters",
    "workers",
    "books",
    "oversized",
)

Ending = tuple[Literal["retry", "dead"], int | str, str]
ENDINGS: dict[str, Ending] = {
    "retry": ("retry", 0, ""),
    "later": ("retry", 5_000, ""),
    "dead": ("dead", "rejected", "x" * 150),
    "dead, told briefly": ("dead", "rejected", ""),
}

a_worker = st.sampled_from(WORKERS)
payloads = st.sampled_from((b"A", b"B", b"", b"x\ny", b"1 2 3\nz", b"t 1 0\n", b"\x00\xff", b"m" * 25, b"L" * 40))
headers = st.sampled_from(
    (b"f%d 1 0\n", b"f%d 3 1\n", b"f%d 2 2\n", b"f%d 1 4 \n", b"f%d 1 4\n", b"f%d 007 01\n", b"g%d", b"g%d 1\n")
)
fates = st.lists(st.sampled_from(("ack", "ack", "retry", "later", "dead", "keep", "keep")), min_size=6, max_size=6)
some = st.lists(st.integers(0, 5), max_size=4)
a_number = st.sampled_from(("next",) * 8 + ("again", "old", "far"))
endings = st.sampled_from(list(ENDINGS.values()))


class Ask(NamedTuple):
    """A step's arguments."""

    worker: bytes
    no: int
    want: int
    acks: Sequence[bytes] = ()
    settles: Sequence[Settle] = ()
    lease: int = LEASE_MS
    budget: int = 10**6
    has_turn: bool = False
    others: int = 0


class Protocol(RuleBasedStateMachine):
    """One queue, three worker ids that come and go.

    Args:
        client: a Redis that nobody else uses; it is emptied.
        edits: faults to put into the scripts.
    """

    def __init__(self, client: redis.Redis, edits: Sequence[Edit] = ()) -> None:
        super().__init__()
        client.flushall()
        self.driver = Driver(client, edits=(*SMALL, *edits), clock=NOON)
        self.reference = Reference(LIMITS, NOON)
        self.pushed: Counter[bytes] = Counter()
        self._unique = count()
        self._numbers = dict.fromkeys(WORKERS, 0)
        self._entries: list[bytes] = []

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

    @rule(delay=st.sampled_from((0, 0, 3_000)), header=headers, payload=payloads)
    def schedule(self, delay: int, header: bytes, payload: bytes) -> None:
        frame = self._forge(header, payload)
        told = self._call(commands.schedule(self.driver.keys, delay, [frame]))
        assert told == self.reference.schedule(delay, [frame])

    @rule(order=st.integers(-2, 2), header=headers, payload=payloads)
    def prioritise(self, order: int, header: bytes, payload: bytes) -> None:
        frame = self._forge(header, payload)
        self.driver.do("ZADD", self.driver.keys.priority, order, frame)
        self.reference.priority[frame] = order

    @rule(header=headers, payload=payloads)
    def suspect(self, header: bytes, payload: bytes) -> None:
        frame = self._forge(header, payload)
        self.driver.do("LPUSH", self.driver.keys.suspects, frame)
        self.reference.suspects.append(frame)

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
        told = self._call(commands.requeue(self.driver.keys, map(self._entry, numbers)))
        assert told == self.reference.requeue(numbers)

    @rule(numbers=some)
    def discard(self, numbers: list[int]) -> None:
        told = self._call(commands.discard(self.driver.keys, map(self._entry, numbers)))
        assert told == self.reference.discard(numbers)

    @rule(everything=st.sampled_from((False, False, True)))
    def purge(self, everything: bool) -> None:  # noqa: FBT001
        told = self._call(commands.purge(self.driver.keys, everything=everything))
        assert told == self.reference.purge(everything=everything)

    @rule()
    def look(self) -> None:
        assert self._call(commands.drained(self.driver.keys)) == self.reference.drained()
        assert self._call(commands.depths(self.driver.keys)) == self.reference.depths()

    @rule(
        part=st.sampled_from(("queue", "handoff", "scheduled", "priority", "suspects", "dead", "counters", "held")),
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
            "requeue": commands.requeue(keys, map(self._entry, range(3))),
            "discard": commands.discard(keys, map(self._entry, range(3))),
            "purge": commands.purge(keys, everything=True),
            "schedule": commands.schedule(keys, 0, [b"never 1 0\n"]),
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
        found = self._snapshot()
        for part in PARTS:
            assert found[part] == getattr(self.reference, part), part
        self._count(found)

    def _count(self, found: dict[str, Any]) -> None:
        """Everything pushed is in one place, and the books that Redis has add up."""
        places = [
            *filter(None, (*found["queue"], *found["handoff"])),
            *(letter[b"payload"] for letter in found["letters"]),
        ]
        places += map(payload_of, (*found["scheduled"], *found["priority"], *found["suspects"]))
        for worker, books in found["books"].items():
            assert worker in found["workers"], f"nobody will ever look at what {worker!r} holds"
            assert books.claimed == books.done + books.retried + books.dead + len(books.held), books
            places += map(payload_of, books.held.values())
        assert Counter(map(known_by, (*places, *self.reference.left))) == self.pushed
        assert found["counters"].get(b"dead_bytes", 0) == sum(map(weight, found["letters"]))

    def _snapshot(self) -> dict[str, Any]:
        """Redis, in the form that the reference has."""
        seen, keys = self.driver.everything(), self.driver.keys
        stream = seen.get(keys.dead, [])
        self._entries = [entry for entry, _ in stream]
        prefix = keys.oversized("").encode()
        return {
            **{name: seen.get(getattr(keys, name), [])[::-1] for name in ("queue", "handoff", "suspects")},
            **{name: _numbers(seen.get(getattr(keys, name), [])) for name in ("scheduled", "priority", "workers")},
            "letters": [_pairs(fields) for _, fields in stream],
            "counters": _numbers(seen.get(keys.counters, [])),
            "books": {name.encode(): _books(fields) for name, fields in self.driver.inflight_hashes().items()},
            "oversized": {key.removeprefix(prefix) for key in self.driver.do("KEYS", prefix + b"*")},
        }

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
        return self._entries[number].decode() if number < len(self._entries) else "1-1"

    def _forge(self, header: bytes, payload: bytes) -> bytes:
        frame = header % next(self._unique) + payload
        self.pushed[known_by(payload_of(frame))] += 1
        return frame


def known_by(payload: bytes) -> bytes:
    """A payload, or the head that is kept of a large one."""
    return payload if len(payload) <= LIMITS.whole else payload[: LIMITS.head]


def _pairs(flat: Sequence[Any]) -> dict[bytes, Any]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _numbers(flat: Sequence[bytes]) -> dict[bytes, int]:
    return {name: int(number) for name, number in _pairs(flat).items()}


def _books(flat: dict[bytes, bytes]) -> Books:
    meta = {name: int(flat.pop(name)) for name in (b"no", b"claimed", b"done", b"retried", b"dead")}
    return Books(**{name.decode(): number for name, number in meta.items()}, held=flat)
