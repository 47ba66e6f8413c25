"""Speaks the protocol of one queue as plainly as can be, and checks after every operation that nothing is lost."""

import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple

import redis

from multiworker.worker import answers, commands
from multiworker.worker.answers import Recovered, StepReply
from multiworker.worker.commands import Command, Settle
from multiworker.worker.keys import Keys
from multiworker.worker.scripts import SCRIPTS, script

LEASE_MS = 45_000
LARGEST = 256 * 1024
WHOLE, HEAD = 1024 * 1024, 4096
"""Bytes of a payload that dead letters keep whole, and of the head of one that is larger; as in lua/prelude.lua."""
META = (b"no", b"claimed", b"done", b"retried", b"dead")
"""Fields of an in-flight hash that are no deliveries."""
NOON = 1_700_000_000_000
"""Some time, in ms, for tests that set the clock."""


class Edit(NamedTuple):
    """A change to a script's text: smaller limits, another clock, or a fault that a test must notice.

    Args:
        old: text that occurs once in each script that is to have it.
        new: what stands there instead.
        only: the one script that is changed; by default, all that have the text.
    """

    old: str
    new: str
    only: str | None = None


EVERYTHING = """
local reads = {list = {'LRANGE', 0, -1}, hash = {'HGETALL'}, zset = {'ZRANGE', 0, -1, 'WITHSCORES'},
               stream = {'XRANGE', '-', '+'}}
local all = {}
for _, key in ipairs(redis.call('KEYS', '*')) do
  local read = reads[redis.call('TYPE', key).ok]
  if read then all[#all + 1] = {key, redis.call(read[1], key, unpack(read, 2))} end
end
return all
"""
TEST_CLOCK = Edit(
    "local now = clock[1] * 1000 + math.floor(clock[2] / 1000)", "local now = tonumber(call('GET', 'test:clock'))"
)


class Frame(NamedTuple):
    """A frame's header and payload."""

    id: bytes
    attempt: int
    crashes: int
    payload: bytes


def read_frame(raw: bytes) -> Frame:
    """Split a frame without the code under test."""
    header, _, payload = raw.partition(b"\n")
    task_id, attempt, crashes = header.split(b" ")[:3]
    return Frame(task_id, int(attempt), int(crashes), payload)


def known_by(payload: bytes) -> bytes:
    """A short name for a payload, from what of it is never cut away."""
    kept = payload if len(payload) <= WHOLE else payload[:HEAD]
    return kept if len(kept) <= 64 else b"%s... %d bytes, %08x" % (kept[:16], len(kept), zlib.crc32(kept))


class Driver:
    """One queue in a real Redis, driven by hand.

    Args:
        client: answers in bytes.
        queue: the list's name.
        edits: changes to the scripts; each must apply to one at least.
        clock: ms of a clock that the test turns by setting `clock`; None takes Redis' own.
    """

    def __init__(
        self, client: redis.Redis, queue: str = "jobs", edits: Sequence[Edit] = (), clock: int | None = None
    ) -> None:
        self.client = client
        self.keys = Keys(queue)
        self.clock = clock
        self.pushed: Counter[bytes] = Counter()
        self.done: Counter[bytes] = Counter()
        self.spoiled_books = False
        self._numbers: dict[str, int] = {}
        edits = [*edits, TEST_CLOCK] if clock is not None else edits
        self._texts = {script(name).sha: _edited(name, edits) for name in SCRIPTS}
        for edit in edits:
            names = [edit.only] if edit.only else SCRIPTS
            assert any(edit.old in script(name).text for name in names), f"no script has {edit.old!r}"

    def do(self, *command: object) -> Any:
        """Send any command."""
        return self.client.execute_command(*command)  # type: ignore[no-untyped-call]

    def call(self, command: Command) -> Any:
        """Run a script call with the scripts' edited text."""
        if self.clock is not None:
            self.do("SET", "test:clock", self.clock)
        return self.do("EVAL", self._texts[str(command[1])], *command[2:])

    def push(self, *payloads: bytes) -> None:
        """LPUSH payloads, as any producer does."""
        self.pushed.update(known_by(payload) for payload in payloads if payload)
        if payloads:
            self.do("LPUSH", self.keys.queue, *payloads)

    def hand_off(self) -> None:
        """Do what a blocking wait of anybody does when there is an element."""
        self.do("LMOVE", self.keys.queue, self.keys.handoff, "RIGHT", "LEFT")

    def register(self, worker: str, lease: int = LEASE_MS) -> bool:
        """Register a worker; True if it is now known."""
        return bool(self.call(commands.register(self.keys, worker, lease)) == [b"OK"])

    def number(self, worker: str) -> int:
        """Draw the next request number of a worker."""
        self._numbers[worker] = self._numbers.get(worker, 0) + 1
        return self._numbers[worker]

    def step(
        self,
        worker: str,
        want: int = 0,
        acks: Sequence[str] = (),
        settles: Iterable[Settle] = (),
        *,
        no: int | None = None,
        lease: int = LEASE_MS,
        largest: int = LARGEST,
        has_turn: bool = False,
        others: int = 0,
    ) -> StepReply:
        """One step; its number is the worker's next unless given.

        Raises:
            Fenced, Stale: as the protocol says; nothing was done.
        """
        command = commands.step(
            self.keys,
            worker,
            self.number(worker) if no is None else no,
            lease,
            want,
            acks,
            settles,
            largest=largest,
            has_turn=has_turn,
            others=others,
        )
        return answers.parse_step(self.call_step(command, worker, acks))

    def call_step(self, command: Command, worker: str, acks: Sequence[str]) -> Any:
        """Send a step that was made elsewhere, and book what it acknowledges."""
        ending = [raw for raw in self.do("HMGET", self.keys.inflight(worker), *acks, "") if raw]
        reply = self.call(command)
        if reply[0] == b"OK":
            self.done.update(known_by(read_frame(raw).payload) for raw in ending)
        self.check()
        return reply

    def claim(self, worker: str, want: int = 1, **more: Any) -> list[bytes]:
        """One step; returns the claimed payloads."""
        return [read_frame(frame).payload for _, frame in self.step(worker, want, **more).claims]

    def reconcile(
        self, worker: str, known: Iterable[str] = (), *, no: int | None = None
    ) -> tuple[set[str], list[tuple[str, bytes]]]:
        """One reconcile; its number is the worker's next unless given."""
        no = self.number(worker) if no is None else no
        raw = self.call(commands.reconcile(self.keys, worker, no, LEASE_MS, known))
        self.check()
        return answers.parse_reconcile(raw)

    def recover(
        self,
        worker: str,
        why: Literal["dead", "left", "expired"] = "dead",
        detail: str = "signal 9",
        lease: int = LEASE_MS,
    ) -> Recovered | None:
        """One recover."""
        raw = self.call(commands.recover(self.keys, worker, why, detail, commands.outage_of(lease)))
        self.check()
        return answers.parse_recover(raw)

    def upkeep(self, lease: int = LEASE_MS) -> list[str]:
        """One upkeep; returns the expired workers."""
        return [worker.decode() for worker in self.call(commands.upkeep(self.keys, lease))]

    def drained(self) -> bool:
        """Ask whether nothing is left."""
        return bool(self.call(commands.drained(self.keys)) == 1)

    def held(self, worker: str) -> dict[str, bytes]:
        """Deliveries of a worker as Redis has them."""
        found: dict[bytes, bytes] = self.do("HGETALL", self.keys.inflight(worker))
        return {field.decode(): frame for field, frame in found.items() if field not in META}

    def letters(self) -> list[dict[bytes, bytes]]:
        """The dead letters, oldest first."""
        return [fields for _, fields in self.do("XRANGE", self.keys.dead, "-", "+")]

    def scheduled(self) -> dict[bytes, int]:
        """Frames that wait for their time -> when, in ms."""
        frames = self.do("ZRANGE", self.keys.scheduled, 0, -1)
        return {frame: int(self.do("ZSCORE", self.keys.scheduled, frame)) for frame in frames}

    def suspects(self) -> list[bytes]:
        """Frames of suspects, the next to run last."""
        return list(self.do("LRANGE", self.keys.suspects, 0, -1))

    def waiting(self) -> list[bytes]:
        """Payloads of the list and the hand-off, in the order in which they are to be taken; bells left out."""
        both = self.do("LRANGE", self.keys.queue, 0, -1) + self.do("LRANGE", self.keys.handoff, 0, -1)
        return [payload for payload in reversed(both) if payload]

    def workers(self) -> list[str]:
        """Everybody with a lease."""
        names = self.do("ZRANGE", self.keys.workers, 0, -1)
        return [name.decode() for name in names if not name.startswith(b"*")]

    def inflight_hashes(self) -> dict[str, dict[bytes, bytes]]:
        """Every worker's in-flight hash."""
        return self._inflight_of(self.everything())

    def everything(self) -> dict[str, list[Any]]:
        """All that lies in Redis but strings, seen at one moment: key -> elements, or names and values in turn."""
        return {key.decode(): content for key, content in self.do("EVAL", EVERYTHING, 0)}

    def check(self) -> None:
        """Every pushed element lies in exactly one place, and all books add up."""
        seen = self.everything()
        keys = self.keys
        letters = [dict(zip(fields[::2], fields[1::2], strict=True)) for _, fields in seen.get(keys.dead, [])]
        payloads = [*seen.get(keys.queue, []), *seen.get(keys.handoff, [])]
        payloads = [*filter(None, payloads), *(letter[b"payload"] for letter in letters)]
        task_ids = [letter[b"id"] for letter in letters]
        frames = [frame for key in (keys.scheduled, keys.priority, keys.deferred) for frame in seen.get(key, [])[::2]]
        frames += seen.get(keys.suspects, [])
        for worker, content in self._inflight_of(seen).items():
            assert worker.encode() in seen[keys.workers], f"nobody will ever look at what {worker} holds"
            assert set(META) <= set(content), f"{worker} has no books: {content}"
            held = [frame for field, frame in content.items() if field not in META]
            _, claimed, *ended = (int(content[field]) for field in META)
            assert claimed == sum(ended) + len(held), f"the books of {worker}: {content}"
            frames += held
        for raw in frames:
            frame = read_frame(raw)
            payloads.append(frame.payload)
            task_ids.append(frame.id)
        assert len(task_ids) == len(set(task_ids)), "two tasks have one id"
        counters = seen.get(keys.counters, [])
        pairs = zip(counters[::2], counters[1::2], strict=True)
        books = {name: int(value) for name, value in pairs if not self.spoiled_books or value.isdigit()}
        found = self.done + Counter(map(known_by, payloads))
        missing, double = self.pushed - found, found - self.pushed
        assert not double, f"in two places: {double}"
        assert missing.total() == books.get(b"dead_dropped", 0), f"lost: {missing}"
        weight = sum(len(value) for letter in letters for value in letter.values())
        booked = books.get(b"dead_bytes", 0)
        assert self.spoiled_books or booked == weight, f"the dead letters have {weight} bytes, and {booked} are booked"

    def _inflight_of(self, seen: dict[str, list[Any]]) -> dict[str, dict[bytes, bytes]]:
        prefix = self.keys.inflight("")
        return {
            key.removeprefix(prefix): dict(zip(content[::2], content[1::2], strict=True))
            for key, content in seen.items()
            if key.startswith(prefix)
        }


def _edited(name: str, edits: Iterable[Edit]) -> str:
    text = script(name).text
    for edit in edits:
        if edit.only in (None, name):
            assert text.count(edit.old) <= 1, f"{edit.old!r} occurs more than once"
            text = text.replace(edit.old, edit.new)
    return text
