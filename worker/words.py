"""The words of the scoreboard's page: which one says what, and what stands in it."""

from enum import IntEnum


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
    TEMPLATE_IMPORT = 7
    """No child, but what children will be forked from: it imports what they need."""
    TEMPLATE = 8
    """It has imported that."""


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
    BIRTH = 14
    """When the kernel started the process; see host.birth()."""
    LEAVING = 15
    """1: it has been told to leave; written by the parent."""
    IN_FLIGHT = 16
    CLAIMED = 17
    DONE = 18
    RETRIED = 19
    DEAD = 20
    GIVEN_BACK = 21
    CPU = 22
    """Nanoseconds of CPU time at the event loop's last beat."""
    MISSED = 23
    """Monotonic ns at which a request to Redis last failed, or got no answer in time."""


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
    BIRTH = 7
    """When the kernel started the parent; see host.birth()."""
    PASSED = 8
    """Monotonic ns of the parent's last pass."""
    PHASE = 9
    """What the parent is about; a Phase of the supervisor's."""
    NEEDED = 10
    """Children that there should be already: while a reload changes their number, the smaller one."""
    ASKED = 11
    """Reloads asked for."""
    DECIDED = 12
    """Up to which of these the outcome is known."""
    LOADED = 13
    """Which was the last of these whose code and settings all children have run."""
    OUTCOME = 14
    """What became of the last reload that was decided; an Outcome of the supervisor's."""
    OUTCOME_AT = 15
    """Monotonic ns of that."""
    CLAIMED = 17
    DONE = 18
    RETRIED = 19
    DEAD = 20
    GIVEN_BACK = 21


class Post(IntEnum):
    """The words of a slot; written by the parent."""

    RESTARTS = 0
    """Children that died here without having been told to leave."""
    EXIT = 1
    """How the last of them ended: its exit code, or minus the signal."""
    EXIT_AT = 2
    """Monotonic ns of that; 0: none has."""


COUNTERS = (Word.CLAIMED, Word.DONE, Word.RETRIED, Word.DEAD, Word.GIVEN_BACK)
"""The ledger's words, at the same places in header and records: claimed = the sum of the others + in flight."""
NO_QUOTA = 2**63
"""So many tasks that nobody counts to it."""
