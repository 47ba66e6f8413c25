"""The producer's side. These functions use the Redis that the environment names; a Client of your own uses any.

The Redis URL is MULTIWORKER_REDIS, else REDIS_URL, else redis://localhost:6379/0; with _FILE behind its name, a
variable names a file that holds it. The largest payload is MULTIWORKER_MAX_PAYLOAD, else 256 KiB.
"""

from collections.abc import Iterable
from datetime import timedelta
from functools import cache
from typing import Any

from multiworker.worker.client.sender import MAX_PAYLOAD, QUEUE, Client
from multiworker.worker.settings import Settings, parse_size, redis_from, variable

__all__ = ["MAX_PAYLOAD", "QUEUE", "Client", "aenqueue", "aenqueue_many", "default_client", "enqueue", "enqueue_many"]

_LOCAL: str = Settings().redis


def enqueue(
    type: str,  # noqa: A002 - the task's key has this name
    data: Any = None,
    *,
    id: str | None = None,  # noqa: A002 - the task's key has this name
    delay: float | timedelta | None = None,
    queue: str = QUEUE,
    confirm: int = 0,
    priority: int = 0,
) -> str:
    """Send a task, and return once Redis has it. It is sent once, and never again, whatever happens.

    Args:
        type: the task's type, 1-200 characters.
        data: what its handler gets; multiworker.worker.client.encode says what it may be. With None the key is left
            out; a handler gets None then, too.
        id: an id of your own, 1-200 characters, for logs and `current()`; two tasks may share one. None draws one.
        delay: seconds to put it off, at most ten years.
        queue: the list.
        confirm: how many replicas of Redis must have the task, too, within a second (WAIT); with all of them, no
            failover loses it.
        priority: -100 to 100. Higher ones are taken first, equal ones in the order in which they were sent; tasks of
            a plain LPUSH have 0. It is kept over delays, retries and crashes.

    Returns:
        The task's id.

    Raises:
        EncodeError: the task cannot be sent as it is; it was not.
        ValueError: id, delay, confirm or priority cannot be; the task was not sent.
        SettingsError: queue or Redis URL cannot be; the task was not sent.
        RedisUnavailable: Redis refused, or did not answer: whether it has the task is unknown.
        NotConfirmed: Redis has the task, but fewer replicas have confirmed it: it may run, or be lost in a failover.
    """
    return default_client().enqueue(type, data, id=id, delay=delay, queue=queue, confirm=confirm, priority=priority)


async def aenqueue(
    type: str,  # noqa: A002 - the task's key has this name
    data: Any = None,
    *,
    id: str | None = None,  # noqa: A002 - the task's key has this name
    delay: float | timedelta | None = None,
    queue: str = QUEUE,
    confirm: int = 0,
    priority: int = 0,
) -> str:
    """Send a task without blocking the event loop; what is sent at the same time shares round trips.

    If the caller is cancelled meanwhile, the task may be sent all the same.

    Args:
        type: as for enqueue, and so are the others.
        data: as for enqueue.
        id: as for enqueue.
        delay: as for enqueue.
        queue: as for enqueue.
        confirm: as for enqueue.
        priority: as for enqueue.

    Returns:
        The task's id.

    Raises:
        EncodeError, ValueError, SettingsError, RedisUnavailable, NotConfirmed: as enqueue.
    """
    return await default_client().aenqueue(
        type, data, id=id, delay=delay, queue=queue, confirm=confirm, priority=priority
    )


def enqueue_many(
    tasks: Iterable[tuple[str, Any]],
    *,
    delay: float | timedelta | None = None,
    queue: str = QUEUE,
    confirm: int = 0,
    priority: int = 0,
) -> list[str]:
    """Send many tasks, about a thousand in a round trip. All are checked before the first is sent.

    Args:
        tasks: type and data of each; they are taken in this order.
        delay: seconds to put all of them off.
        queue: the list.
        confirm: as for enqueue; asked for after each thousand.
        priority: of all of them, as for enqueue.

    Returns:
        Their ids, in order.

    Raises:
        EncodeError, ValueError, SettingsError: as enqueue; none was sent.
        RedisUnavailable: Redis refused, or did not answer; the message says how many tasks it surely has.
        NotConfirmed: names the tasks that too few replicas have confirmed; those before them were, those after them
            were not sent.
    """
    return default_client().enqueue_many(tasks, delay=delay, queue=queue, confirm=confirm, priority=priority)


async def aenqueue_many(
    tasks: Iterable[tuple[str, Any]],
    *,
    delay: float | timedelta | None = None,
    queue: str = QUEUE,
    confirm: int = 0,
    priority: int = 0,
) -> list[str]:
    """Send many tasks without blocking the event loop.

    Args:
        tasks: as for enqueue_many, and so are the others.
        delay: as for enqueue_many.
        queue: as for enqueue_many.
        confirm: as for enqueue_many.
        priority: as for enqueue_many.

    Returns:
        Their ids, in order.

    Raises:
        EncodeError, ValueError, SettingsError, RedisUnavailable, NotConfirmed: as enqueue_many.
    """
    return await default_client().aenqueue_many(tasks, delay=delay, queue=queue, confirm=confirm, priority=priority)


def default_client() -> Client:
    """Return the client of the Redis that the environment names.

    Raises:
        SettingsError: a variable cannot be.
    """
    size = variable("MULTIWORKER_MAX_PAYLOAD")
    url = redis_from() or _LOCAL
    return _client(url, parse_size(size) if size else MAX_PAYLOAD)


@cache
def _client(url: str, max_payload: int) -> Client:
    return Client(url, max_payload=max_payload)
