"""What a handler can ask about the task that it runs."""

from contextvars import ContextVar
from typing import NamedTuple, Protocol


class Current(NamedTuple):
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


class Running(Protocol):
    """Whatever runs a task and can describe it; described only when asked, for most handlers never ask."""

    def describe(self) -> Current:
        """Return what a handler may know."""


CURRENT: ContextVar[Running | None] = ContextVar("multiworker.current", default=None)
"""Set for each task in a context of its own; threads of plain ``def`` handlers get a copy."""


def current() -> Current:
    """Return the task that the calling handler runs.

    Raises:
        LookupError: called outside a handler.
    """
    running = CURRENT.get()
    if running is None:
        raise LookupError("multiworker.current() is for handlers; no task runs here")
    return running.describe()
