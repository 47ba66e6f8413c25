"""Sending tasks from Django code: once the transaction is committed, and never if it is rolled back."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, Protocol

import msgspec
from asgiref.sync import sync_to_async
from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from multiworker.django import conf, eager
from multiworker.worker.client.encode import Ready, delay_ms

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


def enqueue(
    type: str,  # noqa: A002 - the task's key has this name
    data: Any = None,
    *,
    id: str | None = None,  # noqa: A002 - the task's key has this name
    delay: float | timedelta | None = None,
    queue: str | None = None,
    priority: int = 0,
    confirm: int = 0,
    on_commit: bool | None = None,
    using: str | None = None,
) -> str:
    """Send a task once the open transaction is committed; at once if none is open.

    It is checked and gets its id at once. What is in `data` then is what is sent. If the transaction is rolled back, or
    the savepoint inside which this was called, it is never sent.

    Args:
        type: as for multiworker.enqueue, and so are data, id, priority and confirm.
        data: see there.
        id: see there.
        delay: seconds to put it off, from when it is sent.
        queue: the list; None takes ``async_tasks``, or the first of ``MULTIWORKER["QUEUE"]`` if that is not among them.
        priority: see there.
        confirm: see there.
        on_commit: False sends it now, True after the commit; None takes ``MULTIWORKER["ON_COMMIT"]``, True by default.
        using: alias of the database whose commit counts; None takes ``MULTIWORKER["DATABASE"]``, else ``default``.

    Returns:
        The task's id.

    Raises:
        EncodeError, ValueError, SettingsError: as multiworker.enqueue; raised at once, the task was not sent.
        RedisUnavailable, NotConfirmed: as there; raised by whatever commits, after it has.
    """
    more = _options(delay, queue, priority, confirm)
    ready = conf.client().encode(type, data, id)
    _dispatch([ready], more, using=using, now=_now(on_commit=on_commit))
    return ready.id


def enqueue_many(
    tasks: Iterable[tuple[str, Any]],
    *,
    delay: float | timedelta | None = None,
    queue: str | None = None,
    priority: int = 0,
    confirm: int = 0,
    on_commit: bool | None = None,
    using: str | None = None,
) -> list[str]:
    """Send many tasks once the open transaction is committed, about a thousand in a round trip; see enqueue().

    Args:
        tasks: type and data of each; they are taken in this order.
        delay: as for enqueue, and so are the others.
        queue: as for enqueue.
        priority: as for enqueue.
        confirm: as for enqueue.
        on_commit: as for enqueue.
        using: as for enqueue.

    Returns:
        Their ids, in order.

    Raises:
        EncodeError, ValueError, SettingsError, RedisUnavailable, NotConfirmed: as enqueue.
    """
    more = _options(delay, queue, priority, confirm)
    ready = conf.client().encode_all(tasks)
    _dispatch(ready, more, using=using, now=_now(on_commit=on_commit))
    return [task.id for task in ready]


async def aenqueue(
    type: str,  # noqa: A002 - the task's key has this name
    data: Any = None,
    *,
    id: str | None = None,  # noqa: A002 - the task's key has this name
    delay: float | timedelta | None = None,
    queue: str | None = None,
    priority: int = 0,
    confirm: int = 0,
    on_commit: bool | None = None,
    using: str | None = None,
) -> str:
    """Send a task as enqueue() does, without blocking the event loop.

    The transaction that counts is that of the thread in which this code's thread-sensitive calls run (sync_to_async):
    so one around async_to_sync() is waited for, too.

    Args:
        type: as for enqueue, and so are the others.
        data: as for enqueue.
        id: as for enqueue.
        delay: as for enqueue.
        queue: as for enqueue.
        priority: as for enqueue.
        confirm: as for enqueue.
        on_commit: as for enqueue.
        using: as for enqueue.

    Returns:
        The task's id.

    Raises:
        EncodeError, ValueError, SettingsError, RedisUnavailable, NotConfirmed: as enqueue.
    """
    more = _options(delay, queue, priority, confirm)
    if await is_direct(using, now=_now(on_commit=on_commit)):
        return await conf.client().aenqueue(type, data, id=id, **more)
    ready = conf.client().encode(type, data, id)
    await sync_to_async(_dispatch)([ready], more, using=using, now=_now(on_commit=on_commit))
    return ready.id


def _now(*, on_commit: bool | None) -> bool | None:
    return None if on_commit is None else not on_commit


def _waits(using: str | None, *, now: bool | None) -> bool:
    """Tell whether there is a transaction to wait for, without connecting to the database to find that out."""
    if now is True or (now is None and not conf.waits_for_commit()):
        return False
    connection = connections[using or conf.database()]
    return connection.in_atomic_block or (connection.connection is not None and not connection.get_autocommit())


def _options(delay: float | timedelta | None, queue: str | None, priority: int, confirm: int) -> dict[str, Any]:
    """Return the client's options, of which those that cannot be are refused now, not after the commit."""
    where = queue or conf.default_queue()
    options: dict[str, Any] = {"delay": delay, "queue": where, "priority": priority, "confirm": confirm}
    conf.client().send_encoded((), **options)
    return options


def _dispatch(ready: Sequence[Ready], more: dict[str, Any], *, using: str | None, now: bool | None) -> None:
    """Dispatch tasks as they were when they were encoded: later changes of their data do not count."""
    outgoing = [_outgoing(task.payload, more) for task in ready] if _TAPS or conf.is_eager() else []
    dispatch(outgoing, partial(conf.client().send_encoded, ready, **more), using=using, now=now)


def _outgoing(payload: bytes, more: dict[str, Any]) -> Outgoing:
    task, queue = msgspec.json.decode(payload), more["queue"]
    return Outgoing(
        id=task["id"],
        type=task["type"],
        data=task.get("data"),
        queue=queue,
        delay=delay_ms(more["delay"]) / 1000,
        priority=more["priority"],
        run=partial(eager.run, payload, queue),
    )
