"""What lua/step.lua is to do, once more in Python."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from multiworker.worker.commands import Settle
from tests.broker.reference import SUSPECT_AFTER, Books, Frame, Reference, in_order, payload_of, turn_of


@dataclass
class Step:
    """One step's arguments, and what it has done so far.

    Args:
        world: where it happens.
        worker, no, lease, want, budget, largest, turn_ms, has_turn, others: as at the head of lua/step.lua; budget is
            what is called bytes there.
    """

    world: Reference
    worker: bytes
    no: int
    lease: int
    want: int
    budget: int
    largest: int
    turn_ms: int
    has_turn: bool
    others: int
    claims: dict[bytes, bytes] = field(default_factory=dict)
    buried: int = 0
    numbered: int = 0
    more: bool = False
    turn: bool = False
    next_due: int = -1
    aside: int = 0

    @property
    def books(self) -> Books:
        """The worker's."""
        return self.world.books[self.worker]

    @property
    def is_full(self) -> bool:
        """It can claim nothing more."""
        return len(self.claims) >= self.want or self.budget <= 0

    def carry_out(self, acks: Sequence[bytes], settles: Sequence[Settle]) -> list[Any]:
        """Do it; returns the reply."""
        world = self.world
        if refusal := world.refusal(self.worker, self.no):
            return refusal
        due = [frame for frame in in_order(world.scheduled) if world.scheduled[frame] <= world.now][: self.want + 1]
        ready = len(world.queue) + len(world.handoff)
        books, suspects, deferred = self.books, len(world.suspects), len(world.deferred)
        books.no = self.no
        world.workers[self.worker] = world.now + self.lease
        done = 0
        for ack in acks:
            if raw := books.held.pop(ack, None):
                world.left.append(payload_of(raw))
                done += 1
        books.done += done
        missing = [settle.delivery.encode() for settle in settles if not world.settle(self.worker, settle)]
        if suspects and self.want:
            self._consider_suspect(has_other=bool(ready + len(due) + len(world.priority) + len(world.ripe())))
        if self.want and deferred and world.promote():
            self.more, self.want = True, 0
        if self.want:
            self._claim(due, ready)
        books.claimed += len(self.claims) + self.buried
        books.dead += self.buried
        flags = [self.next_due, int(self.more), int(self.turn), done, self.buried, len(missing)]
        return [b"OK", world.now, *flags, *missing, *(part for claim in self.claims.items() for part in claim)]

    def _consider_suspect(self, *, has_other: bool) -> None:
        world, books = self.world, self.books
        holds_nothing = not books.held and not self.others
        proven = books.done + books.retried + books.dead > 0
        if holds_nothing and (proven or not has_other):
            self._hold(self._number(), world.suspects.pop(0))
            world.end_turn(self.worker)
            self.want = 0
        elif not holds_nothing:
            is_over = world.workers.get(b"*alone", 0) <= world.now
            if self.has_turn and is_over:
                world.end_turn(self.worker)
            elif self.has_turn or is_over:
                if not self.has_turn:
                    world.workers[b"*alone"] = world.workers[turn_of(self.worker)] = world.now + self.turn_ms
                self.turn, self.want = True, 0

    def _claim(self, due: list[bytes], ready: int) -> None:
        world = self.world
        order = in_order(world.priority)
        before = [frame for frame in order if world.priority[frame] < 0][: self.want]
        after = [frame for frame in order if world.priority[frame] > 0][: self.want]
        prioritised = bool(world.priority)
        self._take_sorted(world.priority, before, self.want)
        room = self.want - len(self.claims)
        self._take_sorted(world.scheduled, due, max(room - ready, (room + self.no % 2) // 2))
        lists_are_empty = self._take_list(world.handoff) & self._take_list(world.queue)
        self._take_sorted(world.scheduled, due, len(due))
        if lists_are_empty and not self.aside:
            self._take_sorted(world.priority, after, self.want)
        if self.is_full:
            self.more = True
            if due or self.aside or (prioritised and world.priority) or world.handoff:
                world.ring()
        elif self.aside:
            self.more = True
        elif world.scheduled or world.deferred:
            self.next_due = int(min([*world.scheduled.values(), *world.deferred.values()]))

    def _take_sorted(self, source: dict[bytes, int], frames: list[bytes], most: int) -> None:
        """Take at most so many of the first frames, which are no longer in the list then."""
        for _ in range(min(len(frames), most)):
            if self.is_full:
                return
            raw = frames.pop(0)
            number, frame = self._number(), Frame.of(raw)
            del source[raw]
            if frame and int(frame.crashes) >= SUSPECT_AFTER:
                self.world.suspects.append(raw)
                self.aside += 1
            else:
                self._hold(number, raw)

    def _take_list(self, source: list[bytes]) -> bool:
        """Returns whether it was seen to be empty."""
        for _ in range(self.world.limits.chunks):
            if self.is_full:
                return False
            if not source:
                return True
            for _ in range(min(self.world.limits.chunk, self.want - len(self.claims), len(source))):
                if self.budget <= 0:
                    break
                if payload := source.pop(0):
                    self._take(payload)
        self.more = True
        return False

    def _take(self, payload: bytes) -> None:
        number = self._number()
        if len(payload) <= self.largest:
            self._hold(number, bytes(self._first(number, payload)))
        elif len(payload) <= self.world.limits.whole:
            frame = self._first(number, payload)
            self.world.bury(frame, self.worker, b"too large", b"%d bytes" % len(payload), b"")
            self.buried += 1
            self.want -= 1
        else:
            frame = self._first(number, payload[: self.world.limits.head])
            frame.size = b"%d" % len(payload)
            self.world.oversized.add(frame.id)
            self._hold(number, bytes(frame))

    def _hold(self, number: int, raw: bytes) -> None:
        if Frame.of(raw) is None:
            raw = bytes(self._first(number, raw))
        delivery = b"%d.%d" % (self.no, number)
        self.books.held[delivery] = self.claims[delivery] = raw
        self.budget -= len(raw)

    def _first(self, number: int, payload: bytes) -> Frame:
        return Frame(b"%s.%d.%d" % (self.worker, self.no, number), b"1", b"0", b"", payload)

    def _number(self) -> int:
        self.numbered += 1
        return self.numbered
