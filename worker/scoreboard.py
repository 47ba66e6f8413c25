"""The scoreboard: one shared page that every child writes its own record in, and anybody may read without asking.

The page is a file of mode 0600 on tmpfs. It holds a header of totals, then one fixed record for each process slot, all
in aligned 64-bit words: a word is written by one process only and read whole. No lock, no socket, no thread.
"""

import mmap
import os
import time
from enum import IntEnum
from pathlib import Path

_MAGIC = 0x4D57_4F52_4B45_5202  # "MWORKER", layout 2
_RECORD_WORDS = 64
_WORKER_AT = 48  # the worker id fills the last words of a record
_WORKER_BYTES = (_RECORD_WORDS - _WORKER_AT) * 8
_WORD = 8


class State(IntEnum):
    """Where a child is in its life."""

    FREE = 0
    IMPORT = 1
    """Boots: imports the handlers."""
    CONNECT = 2
    """Boots: waits for Redis, which never counts as a failure."""
    READY = 3
    DRAIN = 4
    """Takes nothing more, finishes what it has."""
    LOST = 5
    """Died and was reaped; its tasks are still in flight in Redis."""
    SETTLED = 6
    """Left Redis in order, or its tasks have been given back."""


class Why(IntEnum):
    """Why a LOST child ended: decides whether its death counts against the tasks it held."""

    DEAD = 0
    """Its own doing, or the system's: crashes + 1."""
    LEFT = 1
    """The parent ended it on purpose: not the tasks' fault."""


class Word(IntEnum):
    """The words of a record."""

    PID = 0
    SLOT = 1
    GENERATION = 2
    STATE = 3
    WHY = 4
    EXIT = 5
    """How a LOST child ended: its exit code, or minus the signal."""
    STARTED = 6
    BEAT = 7
    """Monotonic ns of the event loop's last beat."""
    CONTACT = 8
    """Monotonic ns of the last answer from Redis."""
    QUOTA = 9
    """Tasks it may claim in its life; written by the parent. NO_QUOTA without --max-tasks."""
    QUIET = 10
    """1: take nothing more until it is 0 again; written by the parent."""
    WISH = 11
    """What the child asks of the parent: see Wish."""
    LOST_AT = 12
    """Monotonic ns at which the parent marked it as lost."""
    RECOVERER = 13
    """Pid of the child that is to give a lost one's tasks back; 0: whoever comes. Written by the parent."""
    IN_FLIGHT = 16
    CLAIMED = 17
    DONE = 18
    RETRIED = 19
    DEAD = 20
    GIVEN_BACK = 21


class Wish(IntEnum):
    """What a child asks its parent for."""

    NOTHING = 0
    RECYCLE = 1
    """It is due for replacement (tasks, memory or age)."""
    FINISHED = 2
    """--burst: nothing is left to do, anywhere."""


class Total(IntEnum):
    """The words of the header; counters of children that are gone."""

    MAGIC = 0
    PARENT = 1
    STARTED = 2
    GENERATION = 3
    GOOD_GENERATION = 4
    PROCS = 5
    USED = 6
    """Records from the first that have ever been taken; the rest need not be looked at."""
    CLAIMED = 17
    DONE = 18
    RETRIED = 19
    DEAD = 20
    GIVEN_BACK = 21


COUNTERS = (Word.CLAIMED, Word.DONE, Word.RETRIED, Word.DEAD, Word.GIVEN_BACK)
"""The ledger's words, at the same places in header and records: claimed = the sum of the others + in flight."""
NO_QUOTA = 2**63
"""So many tasks that nobody counts to it."""


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
        raw = self.words[_WORKER_AT:].tobytes()
        return raw.rstrip(b"\0").decode("ascii", "replace")

    @worker.setter
    def worker(self, name: str) -> None:
        raw = name.encode("ascii")
        if len(raw) > _WORKER_BYTES:
            raise ValueError(f"a worker id has at most {_WORKER_BYTES} bytes")
        self.words.cast("B")[_WORKER_AT * _WORD :] = raw.ljust(_WORKER_BYTES, b"\0")

    @property
    def ending(self) -> int:
        """How the child ended: its exit code, or minus the signal."""
        word = self.words[Word.EXIT]
        return word - 2**64 if word >= 2**63 else word

    @ending.setter
    def ending(self, code: int) -> None:
        self.words[Word.EXIT] = code % 2**64

    def clear(self) -> None:
        """Make the record free again; the state is written first, so that no reader takes it for a live one."""
        self.words[Word.STATE] = State.FREE
        self.words.cast("B")[:] = bytes(_RECORD_WORDS * _WORD)


class Scoreboard:
    """The page.

    Args:
        page: the mapped file.
        path: where it is, for messages and removal.
    """

    def __init__(self, page: mmap.mmap, path: Path) -> None:
        self.path = path
        self._page = page
        words = memoryview(page).cast("Q")
        self.totals = words[:_RECORD_WORDS]
        count = len(words) // _RECORD_WORDS - 1
        self.records = [Record(words[n * _RECORD_WORDS : (n + 1) * _RECORD_WORDS]) for n in range(1, count + 1)]

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
            size = (records + 1) * _RECORD_WORDS * _WORD
            os.ftruncate(fd, size)
            board = cls(mmap.mmap(fd, size), path)
        finally:
            os.close(fd)
        board.totals[Total.PARENT] = os.getpid()
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
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            page = mmap.mmap(fd, 0)
        finally:
            os.close(fd)
        size = _RECORD_WORDS * _WORD
        if len(page) < size or len(page) % size or memoryview(page).cast("Q")[Total.MAGIC] != _MAGIC:
            raise ValueError(f"{path} is not a scoreboard of this version")
        return cls(page, path)

    @property
    def present(self) -> list[Record]:
        """The records of children that run, or are gone and not yet accounted for."""
        return [record for record in self.records[: self.totals[Total.USED]] if record[Word.STATE] != State.FREE]

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


def runtime_directory() -> Path:
    """Return the directory for the scoreboard, made if need be.

    Returns:
        systemd's RuntimeDirectory, else one of our own under XDG_RUNTIME_DIR, else under /dev/shm, per user.

    Raises:
        OSError: none can be made, or it belongs to somebody else.
    """
    given = os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    if given:
        return Path(given)
    session = os.environ.get("XDG_RUNTIME_DIR")
    path = Path(session, "multiworker") if session else Path(f"/dev/shm/multiworker-{os.getuid()}")  # noqa: S108
    path.mkdir(mode=0o700, exist_ok=True)
    if path.is_symlink() or path.stat().st_uid != os.getuid():
        raise PermissionError(f"{path} belongs to another user")
    return path
