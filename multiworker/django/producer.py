"""``multiworker.django.enqueue`` and its sisters: tasks of Django code, sent once the transaction is committed."""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

import msgspec
from asgiref.sync import sync_to_async

from multiworker.django import conf, eager
from multiworker.django.sending import Outgoing, dispatch, is_direct, is_tapped
from multiworker.worker.client.encode import Ready, delay_ms


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


def _options(delay: float | timedelta | None, queue: str | None, priority: int, confirm: int) -> dict[str, Any]:
    """Return the client's options, of which those that cannot be are refused now, not after the commit."""
    where = queue or conf.default_queue()
    options: dict[str, Any] = {"delay": delay, "queue": where, "priority": priority, "confirm": confirm}
    conf.client().send_encoded((), **options)
    return options


def _dispatch(ready: Sequence[Ready], more: dict[str, Any], *, using: str | None, now: bool | None) -> None:
    """Dispatch tasks as they were when they were encoded: later changes of their data do not count."""
    outgoing = [_outgoing(task.payload, more) for task in ready] if is_tapped() or conf.is_eager() else []
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
