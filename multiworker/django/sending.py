"""When tasks go out: once the transaction is committed, never if it is rolled back, and in tests to whoever looks."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from asgiref.sync import sync_to_async
from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from multiworker.django import conf

_TAPS: list["Tap"] = []
"""Those who take tasks instead of Redis; the last one does."""


@dataclass(frozen=True, kw_only=True)
class Outgoing:
    """A task on its way out of the process.

    Args:
        id: its id.
        type: its type.
        data: as its handler would get it, out of JSON.
        queue: the list.
        delay: seconds that it is put off.
        priority: -100 to 100.
        run: runs it here and now, and returns what its handler does.
    """

    id: str
    type: str
    data: Any
    queue: str
    delay: float = 0.0
    priority: int = 0
    run: Callable[[], Any]


class Tap(Protocol):
    """Takes tasks instead of Redis: a test."""

    def take(self, task: Outgoing) -> None:
        """Take a task that would be sent now."""

    def expect(self, delivery: "Delivery", connection: BaseDatabaseWrapper) -> None:
        """Know of tasks that wait for the commit on a connection."""


def on_commit(send: Callable[[], None], *, using: str | None = None, now: bool | None = None) -> None:
    """Call something after the commit of the transaction that is open; at once if none is.

    If the transaction, or the part of it that is inside a savepoint, is rolled back, it is never called.

    Args:
        send: what it raises is raised by whatever commits, with the data committed; what was to follow it on commit is
            not called then (``robust=False`` of Django's).
        using: the database's alias; None takes ``MULTIWORKER["DATABASE"]``.
        now: do not wait for the commit; None takes the opposite of ``MULTIWORKER["ON_COMMIT"]``.

    Raises:
        TransactionManagementError: the code has switched autocommit off, so that nobody can tell when it commits.
    """
    if _waits(using, now=now):
        transaction.on_commit(send, using=using or conf.database())
    else:
        send()


def dispatch(tasks: Sequence[Outgoing], send: Callable[[], None], *, using: str | None, now: bool | None) -> None:
    """Have tasks sent after the commit; or run here if they are eager, or given to the test that collects them.

    Eager ones run at once, unless `now` is False: whoever sends them is to see what they do.

    Args:
        tasks: what `send` sends.
        send: gives them to Redis.
        using: as for on_commit.
        now: as for on_commit.
    """
    if now is None and not _TAPS and conf.is_eager():
        now = True
    delivery = Delivery(tasks, send)
    on_commit(delivery, using=using, now=now)
    if _TAPS and not delivery.done:
        _TAPS[-1].expect(delivery, connections[using or conf.database()])


class Delivery:
    """What waits for the commit; called more often, as tests may do, it sends once.

    Args:
        tasks: what `send` sends.
        send: gives them to Redis.
    """

    def __init__(self, tasks: Sequence[Outgoing], send: Callable[[], None]) -> None:
        self._tasks = tasks
        self._send = send
        self.done = False

    def __call__(self) -> None:
        """Send."""
        if self.done:
            return
        self.done = True
        if not (_TAPS or conf.is_eager()):
            self._send()
            return
        for task in self._tasks:
            _TAPS[-1].take(task) if _TAPS else task.run()


@contextlib.contextmanager
def tapped(tap: Tap) -> Iterator[None]:
    """Have all tasks of this process given to somebody instead of Redis.

    Args:
        tap: gets them.
    """
    _TAPS.append(tap)
    try:
        yield
    finally:
        _TAPS.remove(tap)


def is_tapped() -> bool:
    """Tell whether somebody takes the tasks instead of Redis."""
    return bool(_TAPS)


async def is_direct(using: str | None = None, *, now: bool | None = None) -> bool:
    """Tell whether a task of this coroutine can be sent to Redis right now.

    Args:
        using: as for on_commit.
        now: as for on_commit.
    """
    if _TAPS or conf.is_eager():
        return False
    if now is True or (now is None and not conf.waits_for_commit()):
        return True
    return not await sync_to_async(_waits)(using, now=now)


def _waits(using: str | None, *, now: bool | None) -> bool:
    """Tell whether there is a transaction to wait for, without connecting to the database to find that out."""
    if now is True or (now is None and not conf.waits_for_commit()):
        return False
    connection = connections[using or conf.database()]
    return connection.in_atomic_block or (connection.connection is not None and not connection.get_autocommit())
