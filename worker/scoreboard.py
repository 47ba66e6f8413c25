"""The scoreboard: one shared page that every child writes its own record in, and anybody may read without asking.

The page is a file of mode 0600 on tmpfs. It holds a header of totals, then fixed records, one for each process, and
behind each a few words on one slot; all in aligned 64-bit words: a word is written by one process only and read whole.
Header and records end in an area for one line of text. No lock, no socket, no thread.
"""

import mmap
import os
import time
from pathlib import Path

from multiworker.worker.host import birth
from multiworker.worker.words import COUNTERS, Post, State, Total, Word

_MAGIC = 0x4D57_4F52_4B45_5203  # "MWORKER", layout 3
_RECORD_WORDS = 96
_UNIT_WORDS = _RECORD_WORDS + 4  # the nth record, and behind it the nth slot; they have nothing else in common
_WORKER_AT = 48  # the worker id lies between the words of a record and its text
_TEXT_AT = 64
_WORKER_BYTES = (_TEXT_AT - _WORKER_AT) * 8
TEXT_BYTES = (_RECORD_WORDS - _TEXT_AT) * 8
"""Room for a text, in UTF-8; what is longer is cut."""
_WORD = 8


class Record:
    """One child's words, and its worker id.

    Args:
        words: the record's part of the page.
    """

    __slots__ = ("words",)

    def __init__(self, words: memoryview) -> None:
        self.words = words

    def __getitem__(self, word: Word) -> int:
        value: int = self.words[word]
        return value

    def __setitem__(self, word: Word, value: int) -> None:
        self.words[word] = value

    @property
    def worker(self) -> str:
        """The worker id in Redis; empty before it has registered."""
        raw = self.words[_WORKER_AT:_TEXT_AT].tobytes()
        return raw.rstrip(b"\0").decode("ascii", "replace")

    @worker.setter
    def worker(self, name: str) -> None:
        raw = name.encode("ascii")
        if len(raw) > _WORKER_BYTES:
            raise ValueError(f"a worker id has at most {_WORKER_BYTES} bytes")
        self.words.cast("B")[_WORKER_AT * _WORD : _TEXT_AT * _WORD] = raw.ljust(_WORKER_BYTES, b"\0")

    @property
    def text(self) -> str:
        """What ended it, if that was an error of its own: one line."""
        return _text(self.words)

    @text.setter
    def text(self, line: str) -> None:
        _set_text(self.words, line)

    @property
    def ending(self) -> int:
        """How the child ended: its exit code, or minus the signal."""
        return _signed(self.words[Word.EXIT])

    @ending.setter
    def ending(self, code: int) -> None:
        self.words[Word.EXIT] = code % 2**64

    def clear(self) -> None:
        """Make the record free again; the state is written first, so that no reader takes it for a live one."""
        self.words[Word.STATE] = State.FREE
        self.words.cast("B")[:] = bytes(_RECORD_WORDS * _WORD)


class Slot:
    """What the parent keeps of one slot beyond the lives of its children.

    Args:
        words: the slot's part of the page.
    """

    __slots__ = ("words",)

    def __init__(self, words: memoryview) -> None:
        self.words = words

    @property
    def restarts(self) -> int:
        """Children that died here without having been told to leave."""
        count: int = self.words[Post.RESTARTS]
        return count

    @property
    def last(self) -> tuple[int, int] | None:
        """How the last of them ended, exit code or minus the signal, and when, in monotonic ns."""
        return (_signed(self.words[Post.EXIT]), self.words[Post.EXIT_AT]) if self.words[Post.EXIT_AT] else None

    def died(self, code: int) -> None:
        """Note that a child has died here."""
        self.words[Post.EXIT] = code % 2**64
        self.words[Post.EXIT_AT] = time.monotonic_ns()
        self.words[Post.RESTARTS] += 1


class Scoreboard:
    """The page.

    Args:
        page: the mapped file, or a copy of one.
        path: where it is, for messages and removal.
    """

    def __init__(self, page: mmap.mmap | bytes, path: Path) -> None:
        self.path = path
        words = memoryview(page).cast("Q")
        self.totals = words[:_RECORD_WORDS]
        self._words = words
        units = range(_RECORD_WORDS, len(words), _UNIT_WORDS)
        self.records = [Record(words[at : at + _RECORD_WORDS]) for at in units]
        self.slots = [Slot(words[at + _RECORD_WORDS : at + _UNIT_WORDS]) for at in units]

    @classmethod
    def create(cls, path: Path, records: int) -> "Scoreboard":
        """Make a new page, replacing an old one of that name.

        Args:
            path: a file on tmpfs; see runtime_directory().
            records: how many processes it has room for.

        Raises:
            OSError: it cannot be made there.
        """
        path.unlink(missing_ok=True)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            size = (_RECORD_WORDS + records * _UNIT_WORDS) * _WORD
            os.ftruncate(fd, size)
            board = cls(mmap.mmap(fd, size), path)
        finally:
            os.close(fd)
        board.totals[Total.PARENT] = os.getpid()
        board.totals[Total.BIRTH] = birth(os.getpid())
        board.totals[Total.STARTED] = time.monotonic_ns()
        board.totals[Total.MAGIC] = _MAGIC
        return board

    @classmethod
    def open(cls, path: Path) -> "Scoreboard":
        """Map an existing page to read it.

        Raises:
            OSError: it is not there or not ours.
            ValueError: it is not a scoreboard of this version.
        """
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            page = mmap.mmap(fd, 0, access=mmap.ACCESS_READ)
        finally:
            os.close(fd)
        units, rest = divmod(len(page) - _RECORD_WORDS * _WORD, _UNIT_WORDS * _WORD)
        if units < 0 or rest or memoryview(page).cast("Q")[Total.MAGIC] != _MAGIC:
            raise ValueError(f"{path} is not a scoreboard of this version")
        return cls(page, path)

    @classmethod
    def join(cls, path: Path) -> "Scoreboard":
        """Map the page that the parent has just made, to write a record of it.

        Raises:
            OSError: it is gone.
        """
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            return cls(mmap.mmap(fd, 0), path)
        finally:
            os.close(fd)

    @property
    def present(self) -> list[Record]:
        """The records of children that run, or are gone and not yet accounted for; not those of templates."""
        used = self.records[: self.totals[Total.USED]]
        return [record for record in used if State.FREE < record[Word.STATE] < State.TEMPLATE_IMPORT]

    @property
    def text(self) -> str:
        """Why the last reload that failed did so, in one line."""
        return _text(self.totals)

    @text.setter
    def text(self, line: str) -> None:
        _set_text(self.totals, line)

    def copy(self) -> "Scoreboard":
        """Return what the page says now, as far as it is in use; reading the rest would take up memory for it."""
        used = min(len(self.records), max(self.totals[Total.USED], self.totals[Total.PROCS]))
        return Scoreboard(self._words[: _RECORD_WORDS + used * _UNIT_WORDS].tobytes(), self.path)

    def free_record(self) -> int | None:
        """Return the index of the first free record, or None if all are taken."""
        for index, record in enumerate(self.records):
            if record[Word.STATE] == State.FREE:
                self.totals[Total.USED] = max(self.totals[Total.USED], index + 1)
                return index
        return None

    def ledger(self) -> dict[str, int]:
        """Sum up all children, gone and present.

        Returns:
            claimed, done, retried, dead, given_back, in_flight.
        """
        live = self.present
        sums = {w.name.lower(): self.totals[w] + sum(record[w] for record in live) for w in COUNTERS}
        return sums | {"in_flight": sum(record[Word.IN_FLIGHT] for record in live)}

    def retire(self, record: Record) -> None:
        """Add a gone child's counters to the totals, and free its record."""
        for word in COUNTERS:
            self.totals[word] += record[word]
        record.clear()


def _signed(word: int) -> int:
    return word - 2**64 if word >= 2**63 else word


def _text(words: memoryview) -> str:
    return words[_TEXT_AT:].tobytes().rstrip(b"\0").decode(errors="replace")


def _set_text(words: memoryview, line: str) -> None:
    whole = line.encode(errors="replace")[:TEXT_BYTES].decode(errors="ignore")  # no character is cut in two
    words.cast("B")[_TEXT_AT * _WORD :] = whole.encode().ljust(TEXT_BYTES, b"\0")
