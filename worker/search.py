"""Finding tasks by what they are: dead letters by type and reason, what is put off by its time, one task by its id.

Nothing here reads a whole queue at once. Redis looks at some thousand elements in a call, which takes it milliseconds;
what was not looked at is told.
"""

import json
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from multiworker.worker import commands, inquiries
from multiworker.worker.commands import Command
from multiworker.worker.message import parse_frame
from multiworker.worker.operate import WHOLE, Filter, Handled, Letter, Operator, is_entry, read_letter
from multiworker.worker.results import Stored
from multiworker.worker.results import read as read_result
from multiworker.worker.view import View
from multiworker.worker.watch import known_of

STEP, STEP_BYTES = 1000, 4 * 1024 * 1024
"""Dead letters, and bytes of their payloads, that Redis looks at in one call."""
PATIENCE = 0.5
"""Seconds after which a search ends where it is."""
PIECE = 500
"""Dead letters that are requeued or discarded in one call."""
LOOKED_AT, LOOKED_AT_BYTES = 5000, 16 * 1024 * 1024
"""Elements of each place, and bytes of all, that are looked at for one task."""
HEAD = 64 * 1024
"""Bytes that are read of a task which waits or runs."""
_PRIORITY = re.compile(rb" p(-?\d{1,3})\.\d+$")


@dataclass(frozen=True, slots=True)
class Found:
    """A page of dead letters.

    Args:
        letters: in the order of the search.
        seen: how many were looked at.
        last: the last one that was looked at: go on from there; empty if the end was reached.
    """

    letters: list[Letter]
    seen: int
    last: str


@dataclass
class Swept:
    """What became of all dead letters that are meant, as far as there was time.

    Args:
        done: how many were requeued or discarded.
        cut: how many cannot be requeued.
        last: go on from there; empty if the end was reached.
    """

    done: int = 0
    cut: int = 0
    last: str = ""


@dataclass(frozen=True, slots=True)
class Task:
    """A task that waits, is put off, or runs.

    Args:
        id: the one that it has in logs: its producer's, else the one it was given when it was first claimed.
        type: its type; empty if it cannot be read.
        attempt: which run is under way, or next, from 1.
        crashes: how many processes died with it in flight.
        priority: -100 to 100.
        size: bytes of its payload.
        head: its payload, or the first bytes of it.
        place: waiting, handoff, priority, scheduled, suspects, running.
        frame_id: the one that it was given when it was first claimed, or put off; empty before.
        worker: who runs it.
        due: when it is due, by the clock of Redis, if it is put off.
    """

    id: str
    type: str
    attempt: int
    crashes: int
    priority: int
    size: int
    head: bytes
    place: str
    frame_id: str = ""
    worker: str = ""
    due: datetime | None = None


@dataclass(frozen=True, slots=True)
class Delayed:
    """A page of tasks that are put off, by due time.

    Args:
        now: by the clock of Redis.
        tasks: of this page.
        at: how many of both kinds lie before the next page.
    """

    now: datetime
    tasks: list[Task]
    at: tuple[int, int]


@dataclass
class Story:
    """Where a task is.

    Args:
        tasks: it, wherever it waits or runs; two tasks may share one id.
        letters: its dead letters.
        partly: places that were not searched to their end.
    """

    tasks: list[Task] = field(default_factory=list)
    letters: list[Letter] = field(default_factory=list)
    partly: list[str] = field(default_factory=list)


class Searcher(View):
    """Finds tasks of one queue; see View for its arguments."""

    def __init__(self, ask: Callable[[Command], Any], queue: str) -> None:
        super().__init__(ask, queue)
        self._operator = Operator(ask, queue)

    def letters(
        self,
        wanted: Filter,
        *,
        beyond: str = "",
        until: str = "",
        newest: bool = True,
        count: int = 50,
        patience: float = PATIENCE,
        cut: int = WHOLE,
    ) -> Found:
        """Return a page of dead letters.

        Args:
            wanted: which.
            beyond: begin after this one; anything that names none, for the first.
            until: end with this one; anything that names none, for the last.
            newest: these first; else the oldest.
            count: at most so many.
            patience: seconds after which the page is returned as it is.
            cut: bytes to read of each payload; the type and the id are found in a whole one only.
        """
        letters: list[Letter] = []
        seen, last, size = 0, beyond if is_entry(beyond) else "", 0
        ends = time.monotonic() + patience
        first, end = "+-" if newest else "-+"
        stop = until if is_entry(until) else end
        text = wanted.type if wanted.type is not None else wanted.id
        texts = (wanted.reason or "", "" if text is None else json.dumps(text, ensure_ascii=False), wanted.id or "")
        while True:
            span = (f"({last}" if last else first, stop, newest)
            limits = (count - len(letters), STEP, STEP_BYTES, cut)
            looked, at, *found = self._ask(inquiries.search(self._keys, span, limits, texts))
            page = [read_letter(*pair) for pair in zip(found[::2], found[1::2], strict=True)]
            letters += filter(wanted.matches, page)
            seen, last = seen + looked, at.decode()
            size += sum(len(letter.payload) for letter in page)
            if not last or len(letters) >= count or size > STEP_BYTES or time.monotonic() > ends:
                return Found(letters, seen, last)

    def newest(self) -> str:
        """Return the name of the newest dead letter; empty if there is none."""
        found = self.letters(Filter(), count=1, cut=0)
        return found.letters[0].entry if found.letters else ""

    def requeue_all(self, wanted: Filter, until: str, beyond: str = "", patience: float = PATIENCE) -> Swept:
        """Requeue the dead letters that are meant, oldest first, PIECE in a call, until the time is over.

        Args:
            wanted: which.
            until: the last of them; younger ones are left alone.
            beyond: begin after this one.
            patience: seconds.
        """
        return self._sweep(self._operator.requeue, wanted, until, beyond, patience)

    def discard_all(self, wanted: Filter, until: str, beyond: str = "", patience: float = PATIENCE) -> Swept:
        """Discard the dead letters that are meant; see requeue_all()."""
        return self._sweep(self._operator.discard, wanted, until, beyond, patience)

    def _sweep(
        self, act: Callable[[Sequence[str]], Handled], wanted: Filter, until: str, beyond: str, patience: float
    ) -> Swept:
        swept = Swept(last=beyond)
        ends = time.monotonic() + patience
        cut = WHOLE if wanted.type is not None or wanted.id is not None else 0
        while True:
            found = self.letters(wanted, beyond=swept.last, until=until, newest=False, count=PIECE, cut=cut, patience=0)
            handled = act([letter.entry for letter in found.letters])
            swept.done += len(handled.done)
            swept.cut += len(handled.cut)
            swept.last = found.last
            if not found.last or time.monotonic() > ends:
                return swept

    def delayed(self, at: tuple[int, int] = (0, 0), count: int = 50) -> Delayed:
        """Return a page of tasks that are put off, those first that are due first.

        Args:
            at: of the page before.
            count: at most so many.
        """
        now, plain, ranked, *rows = self._ask(inquiries.delayed(self._keys, at, count, HEAD))
        found = [_task("scheduled", *rows[start : start + 4]) for start in range(0, len(rows), 4)]
        return Delayed(_time(now), found, (plain, ranked))

    def result(self, task_id: str) -> Stored | None:
        """Return the result of a task that wanted one; None if there is none of that id, or not any more."""
        return read_result(self._ask(commands.result(self._keys, task_id)))

    def story(self, task_id: str) -> Story:
        """Find a task by its id: its producer's, or the one that it was given when it was first claimed."""
        if not task_id:
            return Story()
        text = json.dumps(task_id, ensure_ascii=False)
        limits = (LOOKED_AT, LOOKED_AT_BYTES, 20, HEAD)
        partly, *rows = self._ask(inquiries.find(self._keys, task_id, text, limits))
        found = [_found(*rows[start : start + 5]) for start in range(0, len(rows), 5)]
        letters = self.letters(Filter(id=task_id), count=20)
        tasks = [task for task in found if task_id in {task.id, task.frame_id} or task.size != len(task.head)]
        places = partly.decode().split() + (["dead letters"] if letters.last else [])
        return Story(tasks, letters.letters, list(dict.fromkeys(places)))


def _found(place: bytes, detail: bytes, header: bytes, size: int, head: bytes) -> Task:
    where = place.decode()
    if where == "scheduled":
        return _task(where, float(detail), header, size, head)
    return _task(where, None, header, size, head, detail.decode("utf-8", "replace"))


def _task(place: str, due: float | None, header: bytes, size: int, head: bytes, worker: str = "") -> Task:
    frame, priority = parse_frame(header + b"\n"), _PRIORITY.search(header)
    given, kind = known_of(head, size)
    frame_id = frame.id if header else ""
    return Task(
        id=given or frame_id,
        type=kind,
        attempt=frame.attempt,
        crashes=frame.crashes,
        priority=int(priority[1]) if priority else 0,
        size=size,
        head=head,
        place=place,
        frame_id=frame_id,
        worker=worker,
        due=None if due is None else _time(due),
    )


def _time(ms: float) -> datetime:
    return datetime.fromtimestamp(min(max(ms, 0), 253_402_300_799_000) / 1000, UTC)  # a forged one is year 9999
