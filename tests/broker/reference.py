"""What the scripts are to do, once more in Python: plain, and without a thought of speed or of faults in the middle."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from multiworker.worker.commands import Settle

SUSPECT_AFTER, DEAD_AFTER = 2, 5
STRIDE = 2**45
_FRAME = re.compile(
    rb"([A-Za-z0-9.:_-]+) (\d{1,9}) (\d{1,9})(?: (\d{1,12}))?(?: p(-?\d{1,3})\.(\d{1,13}))?\n(.*)", re.DOTALL
)


class Limits(NamedTuple):
    """Numbers that the scripts have, small enough to be reached.

    Args:
        whole, head: bytes of a payload that dead letters keep whole, and of the head of one that is larger.
        letters, letter_bytes: the caps of the dead letters.
        chunk, chunks: list elements read at once, and how often in one call.
        promoted: deferred tasks that one call finds to be due.
    """

    whole: int = 30
    head: int = 6
    letters: int = 4
    letter_bytes: int = 500
    chunk: int = 3
    chunks: int = 2
    promoted: int = 3


@dataclass
class Frame:
    """A task with its header, as text; priority and number are its place among the priorities, without one 0."""

    id: bytes
    attempt: bytes
    crashes: bytes
    size: bytes
    payload: bytes
    priority: int = 0
    number: bytes = b""

    @classmethod
    def of(cls, raw: bytes) -> "Frame | None":
        """Read a frame; None if it has no header."""
        match = _FRAME.fullmatch(raw)
        if not match:
            return None
        name, attempt, crashes, size, priority, number, payload = match.groups()
        if priority and not 0 < abs(int(priority)) <= 100:
            return None
        return cls(name, attempt, crashes, size or b"", payload, int(priority or 0), number or b"")

    @property
    def place(self) -> bytes:
        """How the header tells it."""
        return b"p%d.%s" % (self.priority, self.number) if self.priority else b""

    @property
    def score(self) -> int:
        """By which those with a priority are in order."""
        return int(self.number) - self.priority * STRIDE

    def __bytes__(self) -> bytes:
        header = b" ".join(filter(None, (self.id, self.attempt, self.crashes, self.size, self.place)))
        return header + b"\n" + self.payload


def payload_of(raw: bytes) -> bytes:
    """Return what of a stored element is the payload."""
    frame = Frame.of(raw)
    return frame.payload if frame else raw


@dataclass
class Books:
    """A worker's in-flight hash."""

    no: int = 0
    claimed: int = 0
    done: int = 0
    retried: int = 0
    dead: int = 0
    held: dict[bytes, bytes] = field(default_factory=dict)


@dataclass
class Reference:
    """One queue. Lists have what is taken next first; marks stand among the workers, as in Redis."""

    limits: Limits
    now: int
    queue: list[bytes] = field(default_factory=list)
    handoff: list[bytes] = field(default_factory=list)
    scheduled: dict[bytes, int] = field(default_factory=dict)
    priority: dict[bytes, int] = field(default_factory=dict)
    deferred: dict[bytes, float] = field(default_factory=dict)
    suspects: list[bytes] = field(default_factory=list)
    letters: list[dict[bytes, bytes]] = field(default_factory=list)
    counters: dict[bytes, int] = field(default_factory=dict)
    workers: dict[bytes, int] = field(default_factory=dict)
    books: dict[bytes, Books] = field(default_factory=dict)
    oversized: set[bytes] = field(default_factory=set)
    left: list[bytes] = field(default_factory=list)
    """Payloads that are done, discarded, purged or dropped."""

    def register(self, worker: bytes, lease: int) -> list[Any]:
        """See lua/register.lua."""
        if worker in self.books or worker in self.workers:
            return [b"TAKEN"]
        self.books[worker] = Books()
        self.workers[worker] = self.now + lease
        return [b"OK"]

    def refusal(self, worker: bytes, no: int) -> list[Any] | None:
        """Return what a request is told that is not carried out."""
        books = self.books.get(worker)
        if books is None:
            return [b"FENCED"]
        return None if no > books.no else [b"STALE"]

    def reconcile(self, worker: bytes, no: int, lease: int, known: Sequence[bytes]) -> list[Any]:
        """See lua/reconcile.lua."""
        if refusal := self.refusal(worker, no):
            return refusal
        books = self.books[worker]
        books.no = no
        self.workers[worker] = self.now + lease
        gone = [delivery for delivery in known if delivery not in books.held]
        unknown = [part for pair in books.held.items() if pair[0] not in known for part in pair]
        return [b"OK", len(gone), *gone, *unknown]

    def recover(self, worker: bytes, why: str, detail: bytes, outage: int) -> list[Any]:
        """See lua/recover.lua."""
        if why == "expired" and not self._is_expired(worker, outage):
            return [b"ALIVE"]
        if turn_of(worker) in self.workers:
            self.end_turn(worker)
        self.workers.pop(worker, None)
        books = self.books.pop(worker, None)
        if books is None:
            return [b"GONE"]
        counted, buried = int(why != "left"), 0
        for raw in books.held.values():
            frame = Frame.of(raw)
            assert frame
            frame.crashes = b"%d" % (int(frame.crashes) + counted)
            if counted and len(books.held) == 1 and int(frame.crashes) >= DEAD_AFTER:
                self.bury(frame, worker, b"crashed", detail, b"")
                buried += 1
            elif int(frame.crashes) >= SUSPECT_AFTER:
                self.suspects.append(bytes(frame))
            elif frame.priority:
                self.put(self.priority, frame.score, frame)
            else:
                self.put(self.scheduled, self.now, frame)
        if len(books.held) > buried:
            self.ring()
        return [b"OK", len(books.held) - buried, buried, books.claimed, books.done, books.retried, books.dead]

    def end_turn(self, worker: bytes) -> None:
        """Have nobody run empty for a suspect."""
        self.workers.pop(b"*alone", None)
        self.workers.pop(turn_of(worker), None)

    def _is_expired(self, worker: bytes, outage: int) -> bool:
        lease, tick, grace = (self.workers.get(name, 0) for name in (worker, b"*tick", b"*grace"))
        return lease <= self.now and self.now - tick <= outage and grace <= self.now

    def upkeep(self, outage: int, grace: int) -> list[Any]:
        """See lua/upkeep.lua."""
        if self.now - self.workers.get(b"*tick", 0) > outage:
            self.workers[b"*grace"] = self.now + grace
        self.workers[b"*tick"] = self.now
        if self.now < self.workers.get(b"*grace", 0):
            return []
        names = sorted(self.workers, key=lambda name: (self.workers[name], name))
        return [name for name in names if self.workers[name] <= self.now and not name.startswith(b"*")]

    def drained(self) -> int:
        """See lua/drained.lua."""
        waiting = (self.queue, self.handoff, self.suspects, self.scheduled, self.priority, self.deferred)
        return int(not any(waiting) and not any(books.held for books in self.books.values()))

    def depths(self) -> list[int]:
        """See lua/depths.lua."""
        return [
            *(len([payload for payload in both if payload]) for both in (self.queue, self.handoff)),
            *(len(self.scheduled) + len(self.deferred), len(self.priority), len(self.suspects)),
            *(sum(len(books.held) for books in self.books.values()), len(self.books), len(self.letters)),
            *(self.counters.get(b"dead_bytes", 0), self.counters.get(b"dead_dropped", 0)),
        ]

    def schedule(self, delay: int, priority: int, tasks: Sequence[tuple[str, bytes]]) -> int:
        """See lua/schedule.lua."""
        for name, payload in tasks:
            self.line_up(delay, Frame(name.encode(), b"1", b"0", b"", payload, priority))
        if delay <= 0:
            self.ring()
        return len(tasks)

    def line_up(self, delay: int, frame: Frame) -> None:
        """Have a task wait for its time, then for its turn: behind what is ready by then and has the same priority."""
        if not frame.priority:
            self.put(self.scheduled, self.now + delay, frame)
            return
        frame.number = b"%d" % self.next_number()
        if delay <= 0 and not self.ripe():
            self.put(self.priority, frame.score, frame)
        else:
            self.put(self.deferred, self.now + delay + int(frame.number) % 4096 / 4096, frame)

    def ripe(self) -> list[bytes]:
        """Deferred tasks whose time has come, in order."""
        return [frame for frame in in_order(self.deferred) if self.deferred[frame] < self.now + 1]

    def promote(self) -> bool:
        """Give deferred tasks their places among the priorities; True if there may be more of them."""
        ripe = self.ripe()[: self.limits.promoted]
        for raw in ripe:
            frame = Frame.of(raw)
            if frame and frame.priority:
                frame.number = b"%d" % self.next_number()
                self.put(self.priority, frame.score, frame)
            else:
                self.scheduled[raw] = self.now
            del self.deferred[raw]
        return len(ripe) == self.limits.promoted

    def put(self, where: dict[bytes, Any], score: float, frame: Frame) -> None:
        """Add a frame, under another id if there is one just like it."""
        while bytes(frame) in where:
            frame.id = b"%s.%d" % (frame.id[:480], self.next_number())
        where[bytes(frame)] = score

    def next_number(self) -> int:
        """Draw the next number of a place."""
        self.counters[b"sequence"] = self.counters.get(b"sequence", 0) + 1
        return self.counters[b"sequence"]

    def purge(self, *, everything: bool) -> int:
        """See lua/purge.lua."""
        gone = [payload for payload in (*self.queue, *self.handoff) if payload]
        self.queue, self.handoff = [], []
        if everything:
            gone += map(payload_of, (*self.scheduled, *self.priority, *self.deferred, *self.suspects))
            self.scheduled, self.priority, self.deferred, self.suspects = {}, {}, {}, []
        self.left += gone
        return len(gone)

    def requeue(self, numbers: Sequence[int]) -> list[bytes]:
        """See lua/requeue.lua; a letter is named by its place, and those beyond the end do not exist."""
        told, gone = [], set[int]()
        for number in numbers:
            if number >= len(self.letters) or number in gone:
                told.append(b"GONE")
                continue
            letter = self.letters[number]
            if int(letter[b"size"]) != len(letter[b"payload"]):
                told.append(b"CUT")
                continue
            told.append(b"OK")
            gone.add(number)
            priority = int(letter.get(b"priority", 0))
            self.line_up(0, Frame(letter[b"id"], b"1", b"0", b"", letter[b"payload"], priority))
        self._remove(gone)
        if gone:
            self.ring()
        return told

    def discard(self, numbers: Sequence[int]) -> list[bytes]:
        """See lua/discard.lua; letters are named as for requeue."""
        told, gone = [], set[int]()
        for number in numbers:
            exists = number < len(self.letters) and number not in gone
            told.append(b"OK" if exists else b"GONE")
            if exists:
                gone.add(number)
        self.left += [self.letters[number][b"payload"] for number in gone]
        self._remove(gone)
        return told

    def _remove(self, numbers: set[int]) -> None:
        for number in sorted(numbers, reverse=True):
            self.counters[b"dead_bytes"] -= weight(self.letters.pop(number))

    def ring(self) -> None:
        """Wake somebody."""
        if not self.queue:
            self.queue.append(b"")

    def bury(self, frame: Frame, worker: bytes, reason: bytes, detail: bytes, sha256: bytes) -> None:
        """Make a dead letter, and drop as many of the oldest as the caps ask for."""
        if frame.size:
            self.oversized.discard(frame.id)
        size = frame.size or b"%d" % len(frame.payload)
        letter = {b"id": frame.id, b"attempt": frame.attempt, b"crashes": frame.crashes, b"reason": reason}
        letter |= {b"detail": detail, b"worker": worker, b"size": size, b"sha256": sha256, b"payload": frame.payload}
        letter |= {b"priority": b"%d" % frame.priority} if frame.priority else {}
        self.letters.append(letter)
        while len(self.letters) > 1 and (
            len(self.letters) > self.limits.letters or sum(map(weight, self.letters)) > self.limits.letter_bytes
        ):
            self.left.append(self.letters.pop(0)[b"payload"])
            self.counters[b"dead_dropped"] = self.counters.get(b"dead_dropped", 0) + 1
        self.counters[b"dead_bytes"] = sum(map(weight, self.letters))

    def settle(self, worker: bytes, settle: Settle) -> bool:
        """Settle one delivery as step does; False if it is not held."""
        books = self.books[worker]
        raw = books.held.pop(settle.delivery.encode(), None)
        if raw is None:
            return False
        frame = Frame.of(raw)
        assert frame
        if settle.kind == "retry":
            frame.attempt = b"%d" % (int(frame.attempt) + 1)
            self.line_up(int(settle.value), frame)
            books.retried += 1
            return True
        detail, reason = settle.detail.encode(), str(settle.value).encode()
        self.bury(frame, worker, reason, *((b"", detail) if frame.size else (detail, b"")))
        books.dead += 1
        return True


def weight(letter: dict[bytes, bytes]) -> int:
    """Return the bytes that a dead letter counts for."""
    return sum(map(len, letter.values()))


def in_order(frames: dict[bytes, Any]) -> list[bytes]:
    """Return a sorted set's members as Redis has them."""
    return sorted(frames, key=lambda frame: (frames[frame], frame))


def turn_of(worker: bytes) -> bytes:
    """Name the mark of a worker's turn to run empty for a suspect."""
    return b"*alone " + worker
