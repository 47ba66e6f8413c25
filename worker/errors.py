"""Every error, control exception, dead-letter reason and exit code, in one place.

::

    MultiworkerError
    ├── SettingsError           an option, variable or file says something that cannot be
    ├── HandlerImportError      a --handler does not import, or two handlers claim one type
    ├── PayloadError            a list element is not a task (carries a Reason)
    │   └── EncodeError         a task cannot be sent as it is
    ├── RedisUnavailable        Redis did not answer, or refused
    ├── NotConfirmed            tasks were sent, but fewer replicas than asked for have confirmed it
    ├── ProtocolError           Redis answered something that the protocol does not know
    │   ├── Fenced              this worker was declared dead: its tasks belong to others now
    │   └── Stale               a request number was used before: reconcile first
    ├── DeadLettered            stands in results of tasks that could not run
    └── TaskControl             raised by handlers to choose an outcome
        ├── Retry               run me again later
        └── Reject              never run me again
    HandlerTimeout              (a TimeoutError) raised inside a plain ``def`` handler at its deadline
"""

import os
from collections.abc import Sequence
from enum import IntEnum, StrEnum


class MultiworkerError(Exception):
    """The base of every error that multiworker raises."""


class SettingsError(MultiworkerError):
    """An option, variable or file says something that cannot be."""


class HandlerImportError(MultiworkerError):
    """A ``--handler`` does not import, or two handlers claim one type."""


class Reason(StrEnum):
    """Why a task lies in the dead letters. The words are stable: people search and alert by them."""

    EXHAUSTED = "attempts exhausted"
    """Its handler failed as often as it may."""
    REJECTED = "rejected"
    """Its handler raised Reject."""
    NO_HANDLER = "no handler"
    """No handler is registered for its type."""
    CRASHED = "crashed"
    """Its process died again and again, in the end while it ran alone."""
    TOO_LARGE = "too large"
    """The element is larger than ``--max-payload``."""
    NOT_UTF8 = "not utf-8"
    """The element is not valid UTF-8."""
    NOT_JSON = "not json"
    """The element is not one JSON text (NaN and Infinity are not JSON)."""
    NOT_OBJECT = "not an object"
    """The JSON text is not an object."""
    NO_TYPE = "no type"
    """The object has no ``type``."""
    BAD_TYPE = "bad type"
    """``type`` is not a string of 1-200 characters without control or bidirectional characters."""
    DUPLICATE_KEY = "duplicate key"
    """An object in it names one key twice."""
    TOO_DEEP = "too deep"
    """Objects and arrays are nested more than 32 deep."""


class PayloadError(MultiworkerError):
    """A list element is not a task.

    Args:
        reason: the dead-letter reason.
        detail: one sentence for people; never text from the payload.
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class EncodeError(PayloadError):
    """A task cannot be sent as it is; nothing was sent."""


class RedisUnavailable(MultiworkerError):
    """Redis did not answer, or refused; the message never shows a password."""


class NotConfirmed(MultiworkerError):
    """Tasks were sent, but too few replicas have confirmed it in time. They may run, or be lost in a failover.

    Args:
        ids: of these tasks.
        confirmed: how many replicas have.
        wanted: how many should have.
        more: what else is to be said.
    """

    def __init__(self, ids: Sequence[str], confirmed: int, wanted: int, more: str = "") -> None:
        what = f"task {ids[0]} was" if len(ids) == 1 else f"{len(ids)} tasks were"
        super().__init__(
            f"{what} sent, but {confirmed} of {wanted} replicas confirmed it in time: it may run all the same{more}"
        )
        self.ids = list(ids)
        self.confirmed = confirmed
        self.wanted = wanted


class ProtocolError(MultiworkerError):
    """Redis answered something that the protocol does not know."""


class Fenced(ProtocolError):
    """This worker was declared dead: its tasks belong to others now."""


class Stale(ProtocolError):
    """A request number was used before: nothing was done; reconcile first."""


class TaskControl(MultiworkerError):
    """The base of what a handler raises to choose its task's outcome."""


class Retry(TaskControl):
    """Run this task again later, as long as it has attempts left.

    Args:
        delay: seconds to wait; None takes the handler's back-off.
        reason: a sentence for the log and the dead letters.
    """

    def __init__(self, reason: str = "", *, delay: float | None = None) -> None:
        if delay is not None and not 0 <= delay <= MAX_DELAY:
            raise ValueError(f"delay is 0 to {MAX_DELAY:.0f} seconds, not {delay!r}")
        super().__init__(reason)
        self.delay = delay


class Reject(TaskControl):
    """Never run this task again: it goes to the dead letters with this reason.

    Args:
        reason: a sentence for the log and the dead letters.
    """

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason)


class DeadLettered(MultiworkerError):
    """Says in a task's result that it became a dead letter without its handler having failed; never raised."""


class HandlerTimeout(TimeoutError):
    """Raised inside a plain ``def`` handler when its task's deadline passes."""


MAX_DELAY = 10 * 365 * 86400.0
"""The longest delay of a task, in seconds (ten years)."""


class Exit(IntEnum):
    """Exit codes, from sysexits.h where it has a word for it."""

    OK = os.EX_OK
    USAGE = os.EX_USAGE
    """64: wrong options."""
    UNAVAILABLE = os.EX_UNAVAILABLE
    """69: Redis cannot be reached."""
    SOFTWARE = os.EX_SOFTWARE
    """70: a crash, or children that crash again and again."""
    OSERR = os.EX_OSERR
    """71: the system refuses to fork or to map memory."""
    CANTCREAT = os.EX_CANTCREAT
    """73: the pid file cannot be written."""
    TEMPFAIL = os.EX_TEMPFAIL
    """75: another instance is running."""
    FENCED = os.EX_PROTOCOL
    """76: a child was declared dead by others while it lived; it leaves and is replaced."""
    CONFIG = os.EX_CONFIG
    """78: a settings file is wrong or a handler does not import."""
