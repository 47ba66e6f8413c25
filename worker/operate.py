"""The operator's view of one queue: what waits, and the dead letters. The command line and the admin pages use it.

Everything comes and goes in pages, so that 100,000 dead letters neither block Redis nor fill the memory.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from multiworker.worker import inquiries
from multiworker.worker.commands import Command
from multiworker.worker.errors import PayloadError
from multiworker.worker.keys import Keys
from multiworker.worker.message import decode
from multiworker.worker.view import View

PAGE = 500
"""Dead letters in one page."""
PAGE_BYTES = 1024 * 1024
"""Bytes of payload in one page, unless a single dead letter has more."""
WHOLE = 2**53
"""Bytes to show of a payload: all."""
_ENTRY = re.compile(r"\d{1,20}-\d{1,20}")


@dataclass(frozen=True, slots=True)
class Depths:
    """How many tasks lie where.

    Args:
        waiting: in the list.
        handoff: at its head, moved there by a waiting worker; they are taken first.
        scheduled: put off: delayed tasks, retries, tasks given back after a crash.
        priority: with a priority that is not 0, and not put off.
        suspects: were in flight in two crashes, and wait to run alone.
        in_flight: held by workers.
        workers: registered, on all hosts.
        dead: dead letters.
        dead_bytes: of all dead letters.
        dead_dropped: dead letters lost to the caps.
    """

    waiting: int
    handoff: int
    scheduled: int
    priority: int
    suspects: int
    in_flight: int
    workers: int
    dead: int
    dead_bytes: int
    dead_dropped: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """A task that waits.

    Args:
        priority: -100 to 100; higher ones are taken first.
        size: bytes of its payload.
        head: its payload, or the first bytes of it.
    """

    priority: int
    size: int
    head: bytes


@dataclass(frozen=True)
class Letter:
    """A dead letter.

    Args:
        entry: names it.
        id: the task's id, kept over retries; the id that its producer gave it stands in the payload.
        attempt: which run was the last, from 1.
        crashes: how many processes died with it in flight.
        reason: a Reason; newer versions may know more of them.
        detail: for people; with several lines, such as a traceback.
        worker: who held it last.
        size: bytes of the payload.
        sha256: of the whole payload, if only its head is kept and the worker could read it.
        payload: raw; only its head if it is cut.
        priority: that it had, and has again if it is requeued.
    """

    entry: str
    id: str
    attempt: int
    crashes: int
    reason: str
    detail: str
    worker: str
    size: int
    sha256: str
    payload: bytes
    priority: int = 0

    @property
    def time(self) -> datetime:
        """When it became a dead letter, by the clock of Redis."""
        return datetime.fromtimestamp(int(self.entry.partition("-")[0]) / 1000, UTC)

    @property
    def is_cut(self) -> bool:
        """True if not the whole payload is kept; it cannot be requeued."""
        return len(self.payload) != self.size

    @cached_property
    def task(self) -> dict[str, Any] | None:
        """The payload, decoded; None if it is no task."""
        try:
            return decode(self.payload)
        except PayloadError:
            return None


@dataclass(frozen=True, slots=True)
class Filter:
    """Which dead letters are meant; all of them unless narrowed.

    Args:
        type: of their tasks.
        reason: why they lie there.
        id: of their tasks: the one they were given when first claimed, or by their producer.
    """

    type: str | None = None
    reason: str | None = None
    id: str | None = None

    def matches(self, letter: Letter) -> bool:
        """Tell whether a dead letter is meant."""
        task = letter.task if self.type is not None or self.id not in {None, letter.id} else None
        return (
            (self.reason is None or letter.reason == self.reason)
            and (self.type is None or (task is not None and task["type"] == self.type))
            and (self.id is None or letter.id == self.id or (task is not None and task.get("id") == self.id))
        )


@dataclass(frozen=True, slots=True)
class Handled:
    """What became of the dead letters that were to be requeued or discarded.

    Args:
        done: those that were, each by this call and no other.
        gone: those that were not there, or not any more.
        cut: those that cannot be requeued, because only the head of their payload is kept.
    """

    done: list[str]
    gone: list[str]
    cut: list[str]


class Operator(View):
    """What an operator can see and do of one queue; see View for its arguments."""

    def depths(self) -> Depths:
        """Count what lies where, at one moment."""
        return Depths(*self._ask(inquiries.depths(self._keys)))

    def peek(self, count: int, cut: int = 4096) -> list[Waiting]:
        """Return what will be taken next, in order; nothing is taken, and what is put off is left out.

        Args:
            count: at most so many.
            cut: bytes of payload to show of each.
        """
        reply = self._ask(inquiries.peek(self._keys, count, cut))
        return [Waiting(*task) for task in zip(reply[::3], reply[1::3], reply[2::3], strict=True)]

    def purge(self, *, everything: bool = False) -> int:
        """Delete what waits; what is in flight goes on.

        Args:
            everything: also what is scheduled, prioritised or suspected.

        Returns:
            How many tasks were deleted.
        """
        return int(self._ask(inquiries.purge(self._keys, everything=everything)))

    def letters(self, wanted: Filter, *, newest: bool = True) -> Iterator[Letter]:
        """Return dead letters one after the other, read page by page.

        Args:
            wanted: which.
            newest: these first; else the oldest.
        """
        for page in self._pages(*("+-" if newest else "-+"), newest=newest):
            yield from filter(wanted.matches, page)

    def letter(self, entry: str) -> Letter | None:
        """Return a dead letter with its whole payload, or None if there is none of that name."""
        if not is_entry(entry):
            return None
        page = self._page(entry, entry, newest=False, count=1, cut=WHOLE)
        return page[0] if page else None

    def requeue(self, entries: Sequence[str]) -> Handled:
        """Run dead letters again: due now, with all their attempts. Each is requeued once, whoever asks how often.

        Args:
            entries: names of dead letters.
        """
        return self._handle(inquiries.requeue, entries)

    def discard(self, entries: Sequence[str]) -> Handled:
        """Delete dead letters.

        Args:
            entries: names of dead letters.
        """
        return self._handle(inquiries.discard, entries)

    def matching(self, wanted: Filter) -> Iterator[list[str]]:
        """Name dead letters page by page, oldest first; what dies after the call is left out.

        Args:
            wanted: which.
        """
        newest = self._page("+", "-", newest=True, count=1, cut=0)
        if newest:
            cut = WHOLE if wanted.type is not None or wanted.id is not None else 0
            for page in self._pages("-", newest[0].entry, newest=False, cut=cut):
                yield [letter.entry for letter in page if wanted.matches(letter)]

    def _pages(self, first: str, last: str, *, newest: bool, cut: int = WHOLE) -> Iterator[list[Letter]]:
        while page := self._page(first, last, newest=newest, count=PAGE, cut=cut):
            yield page
            first = f"({page[-1].entry}"

    def _page(self, first: str, last: str, *, newest: bool, count: int, cut: int) -> list[Letter]:
        command = inquiries.letters(self._keys, first, last, newest=newest, count=count, size=PAGE_BYTES, cut=cut)
        reply = self._ask(command)
        return [read_letter(entry, fields) for entry, fields in zip(reply[::2], reply[1::2], strict=True)]

    def _handle(self, build: Callable[[Keys, Iterable[str]], Command], entries: Sequence[str]) -> Handled:
        handled = Handled([], [], [])
        lists = {b"OK": handled.done, b"GONE": handled.gone, b"CUT": handled.cut}
        handled.gone.extend(entry for entry in entries if not is_entry(entry))
        known = [entry for entry in entries if is_entry(entry)]
        for start in range(0, len(known), PAGE):
            chunk = known[start : start + PAGE]
            for entry, status in zip(chunk, self._ask(build(self._keys, chunk)), strict=True):
                lists[status].append(entry)
        return handled


def is_entry(text: str) -> bool:
    """Tell whether a text can be an id of a Redis stream, in full."""
    return bool(_ENTRY.fullmatch(text)) and all(int(part) < 2**64 for part in text.split("-"))


def read_letter(entry: bytes, fields: Sequence[bytes]) -> Letter:
    """Read a dead letter; also one that somebody else wrote, with fields missing."""
    field = dict(zip(fields[::2], fields[1::2], strict=True))
    texts = {name: field.get(name.encode(), b"").decode("utf-8", "replace") for name in _TEXTS}
    numbers = {name: int(field.get(name.encode(), b"") or 0) for name in ("attempt", "crashes", "size", "priority")}
    return Letter(entry=entry.decode(), payload=field.get(b"payload", b""), **texts, **numbers)  # type: ignore[arg-type]


_TEXTS = ("id", "reason", "detail", "worker", "sha256")
