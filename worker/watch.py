"""What one queue and its workers do, on all hosts, as they tell it themselves; the admin pages show it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property

import msgspec

from multiworker.worker import commands, inquiries
from multiworker.worker.errors import PayloadError
from multiworker.worker.ledger import BUCKETS
from multiworker.worker.message import decode
from multiworker.worker.view import View

MOST_WORKERS = 500
"""Workers that are shown of one queue."""
HEAD = 4096
"""Bytes that are read of a task which waits."""
_UUID7 = re.compile(r"[0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{15}")
_OWN = re.compile(rb'\{"id":"([A-Za-z0-9._:-]{1,200})","type":"([A-Za-z0-9._:-]{1,200})"')


class CardTask(msgspec.Struct):
    """A task that a worker runs.

    Args:
        id: the task's id.
        type: its type.
        attempt: which run it is, from 1.
        seconds: for which it had run when the card was written.
    """

    id: str = ""
    type: str = ""
    attempt: int = 1
    seconds: float = 0.0


class Card(msgspec.Struct):
    """What a worker says of itself.

    Args:
        host: its host's name.
        pid: its process id there.
        parent: its parent's process id.
        name: of its parent's instance; empty without.
        slot: its place among the parent's children.
        generation: of its code.
        state: connect, ready, quiet, drain or settled.
        age: seconds since it was forked.
        rss: bytes of resident memory.
        cpu: seconds of CPU time since it was forked.
        load: share of one core since the card before.
        concurrency: tasks that it runs at once, at most.
        done: tasks it has done, in all its queues.
        retried: tasks it has put off.
        dead: tasks it has dead-lettered.
        running: tasks that it runs now, of this queue.
        tasks: some of them.
    """

    host: str = ""
    pid: int = 0
    parent: int = 0
    name: str = ""
    slot: int = 0
    generation: int = 0
    state: str = ""
    age: float = 0.0
    rss: int = 0
    cpu: float = 0.0
    load: float = 0.0
    concurrency: int = 0
    done: int = 0
    retried: int = 0
    dead: int = 0
    running: int = 0
    tasks: list[CardTask] = []


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker that Redis knows.

    Args:
        id: its id.
        lease: seconds until others may have its tasks; negative if it is over.
        held: tasks that it holds of this queue.
        card: what it says of itself; None if it has said nothing lately.
        card_age: seconds since then.
    """

    id: str
    lease: float
    held: int
    card: Card | None
    card_age: float


@dataclass(frozen=True, slots=True)
class Minute:
    """What ended in one minute.

    Args:
        start: its beginning.
        waiting: tasks that waited when it was last looked at; None if nobody did.
        done: tasks that were done.
        retried: failures that are tried again.
        dead: tasks that were dead-lettered.
        latencies: runs by how long they took: the nth took less than 2^n ms, and the one before it did not.
    """

    start: datetime
    waiting: int | None
    done: int
    retried: int
    dead: int
    latencies: list[int]


@dataclass(frozen=True, slots=True)
class Oldest:
    """The element that has waited longest in the list.

    Args:
        id: the task's id; empty if its producer gave it none, or it cannot be read.
        type: its type; empty if it cannot be read.
        size: bytes of its payload.
        since: when it was sent, by its producer's clock; None if its id does not tell.
    """

    id: str
    type: str
    size: int
    since: datetime | None


@dataclass(frozen=True)
class Pulse:
    """What a queue has done lately.

    Args:
        now: by the clock of Redis.
        oldest: what waits longest; None if nothing does.
        minutes: the last ones, oldest first; the last of them is not over.
    """

    now: datetime
    oldest: Oldest | None
    minutes: list[Minute]

    @cached_property
    def recent(self) -> list[Minute]:
        """The minute that is not over and the five before it."""
        return self.minutes[-6:]

    @property
    def rate(self) -> float:
        """Runs that came to an end in a second, lately."""
        ended = sum(minute.done + minute.retried + minute.dead for minute in self.recent)
        return ended / max(1.0, (self.now - self.recent[0].start).total_seconds())

    def latency(self, share: float) -> float | None:
        """Return the seconds within which this share of the recent runs ended; None if there were none."""
        sums = [sum(counts) for counts in zip(*(minute.latencies for minute in self.recent), strict=True)]
        return percentile(sums, share)


class Watcher(View):
    """Reads what workers say of one queue; see View for its arguments."""

    def workers(self) -> tuple[int, list[Worker]]:
        """Return how many workers there are, and the first MOST_WORKERS of them, by host and slot."""
        reply = self._ask(inquiries.cards(self._keys, MOST_WORKERS))
        found = [_worker(*reply[at : at + 5]) for at in range(1, len(reply), 5)]
        return int(reply[0]), sorted(found, key=_place)

    def pulse(self, minutes: int = 60) -> Pulse:
        """Return what ended in the last minutes, at most an hour, and what waits longest."""
        now, head, size, *rows = self._ask(inquiries.pulse(self._keys, minutes, HEAD))
        this = datetime.fromtimestamp(now // 60_000 * 60, UTC)
        first = this - timedelta(minutes=len(rows) - 1)
        read = [_minute(first + timedelta(minutes=number), row) for number, row in enumerate(rows)]
        return Pulse(datetime.fromtimestamp(now / 1000, UTC), _oldest(head, size) if size else None, read)


def percentile(latencies: Sequence[int], share: float) -> float | None:
    """Estimate the time within which a share of runs ended.

    Args:
        latencies: as in Minute; within one of them, runs count as evenly spread.
        share: 0 to 1.

    Returns:
        Seconds; None without runs.
    """
    left = sum(latencies) * share
    if not left:
        return None
    for number, count in enumerate(latencies):
        if left <= count:
            low, high = (2 ** (number - 1) if number else 0), 2**number
            return float(low + (high - low) * left / count) / 1000
        left -= count
    return 2.0 ** (len(latencies) - 1) / 1000


def born(task_id: str) -> datetime | None:
    """Return when an id was drawn, if it is a UUID of version 7 (RFC 9562), as our clients draw them."""
    if not _UUID7.fullmatch(task_id):
        return None
    at = int(task_id[:12], 16) / 1000
    return datetime.fromtimestamp(at, UTC) if at < 2**32 else None


def known_of(payload: bytes, size: int) -> tuple[str, str]:
    """Return a task's id and type, as far as they can be read.

    Args:
        payload: its payload, or the first bytes of it.
        size: bytes of the whole.
    """
    if len(payload) == size:
        try:
            task = decode(payload)
        except PayloadError:
            return "", ""
        given = task.get("id")
        return given if isinstance(given, str) else "", task["type"]
    match = _OWN.match(payload)  # as our clients write it
    return (match[1].decode(), match[2].decode()) if match else ("", "")


def _oldest(head: bytes, size: int) -> Oldest:
    task_id, kind = known_of(head, size)
    return Oldest(task_id, kind, size, born(task_id))


def _worker(worker: bytes, lease: int, held: int, left: int, card: bytes) -> Worker:
    return Worker(
        id=worker.decode("utf-8", "replace"),
        lease=int(lease) / 1000,
        held=held,
        card=_card(card) if card else None,
        card_age=max(0.0, commands.CARD_MS - left) / 1000,
    )


def _card(text: bytes) -> Card | None:
    try:
        return msgspec.json.decode(text, type=Card)
    except (msgspec.DecodeError, RecursionError):
        return None


def _place(worker: Worker) -> tuple[bool, str, str, int, int, str]:
    card = worker.card or Card()
    return worker.card is None, card.host, card.name, card.parent, card.slot, worker.id


def _minute(start: datetime, row: Sequence[bytes]) -> Minute:
    count = {name.decode("ascii", "replace"): _number(value) for name, value in zip(row[::2], row[1::2], strict=True)}
    latencies = [count.get(f"l{number}", 0) for number in range(BUCKETS)]
    done, retried, dead = (count.get(name, 0) for name in ("done", "retried", "dead"))
    return Minute(start, count.get("waiting"), done, retried, dead, latencies)


def _number(text: bytes) -> int:
    return int(text) if text.isdigit() else 0
