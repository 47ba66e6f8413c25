"""What a handler can ask about the task that it runs."""

from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Current:
    """The running task.

    Args:
        id: the id its producer gave it, else the one it got when it was first claimed; kept over retries.
        type: its type.
        attempt: which run this is, from 1.
        queue: the list it came from.
        max_attempts: how often it may run.
    """

    id: str
    type: str
    attempt: int
    queue: str
    max_attempts: int


CURRENT: ContextVar[Current] = ContextVar("multiworker.current")
"""Set for each task in a context of its own; threads of plain ``def`` handlers get a copy."""


def current() -> Current:
    """Return the task that the calling handler runs.

    Raises:
        LookupError: called outside a handler.
    """
    try:
        return CURRENT.get()
    except LookupError:
        raise LookupError("multiworker.current() is for handlers; no task runs here") from None
