"""Database connections around tasks: each thread looks after its own, as Django does around requests.

A plain ``def`` handler runs in one of the child's threads, which keeps its connection for the next task if CONN_MAX_AGE
allows. An ``async def`` handler reaches the database through asgiref's thread-sensitive calls: it has a thread for
itself while it runs, from the first such call on, so tasks that run at the same time share neither connection nor
transaction. Those threads, and their connections, are used again.
"""

import contextlib
import functools
import inspect
import logging
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any

from asgiref.sync import ThreadSensitiveContext
from django.db import connections, reset_queries
from django.db.backends.base.base import BaseDatabaseWrapper

from multiworker.worker.logs import describe

log = logging.getLogger("multiworker.worker")


def careful(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Wrap a handler so that it begins and ends with connections in order, in the thread that uses them.

    Args:
        function: takes the task's data; plain or async, as the wrapper is then.
    """
    call = getattr(function, "__call__", None)  # noqa: B004 - an object may have an async __call__
    if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call):
        return functools.wraps(function)(_careful_async(function))
    return functools.wraps(function)(_careful_plain(function))


def _careful_plain(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def run(data: Any) -> Any:
        _begin()
        try:
            result = function(data)
        finally:
            _tidy()
        return _with_lane(result) if inspect.iscoroutine(result) else result

    return run


def _careful_async(function: Callable[[Any], Awaitable[Any]]) -> Callable[[Any], Coroutine[Any, Any, Any]]:
    async def run(data: Any) -> Any:
        return await _with_lane(function(data))

    return run


async def _with_lane(awaitable: Awaitable[Any]) -> Any:
    lane = _Lane()
    try:
        async with ThreadSensitiveContext(executor=lane):
            return await awaitable
    finally:
        lane.leave()


class _Lane(Executor):
    """Where an async task's thread-sensitive calls run: a thread that is taken at the first of them.

    So tasks that never touch the database cost no thread, and no way to one and back.
    """

    _free: list[ThreadPoolExecutor] = []  # noqa: RUF012 - shared on purpose: threads that no task has now
    _lock = threading.Lock()

    def __init__(self) -> None:
        self._thread: ThreadPoolExecutor | None = None

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        """Run a call after those that came before it."""
        with self._lock:
            if self._thread is None:
                self._thread = self._free.pop() if self._free else ThreadPoolExecutor(1, "async-handler")
                self._thread.submit(_begin)
            return self._thread.submit(fn, *args, **kwargs)

    def leave(self) -> None:
        """Have the thread clean up, and leave it to the next task, whose calls come after that."""
        with self._lock:
            if self._thread:
                self._thread.submit(_tidy)
                self._free.append(self._thread)
                self._thread = None


def _begin() -> None:
    """Close what is too old or broken; what is kept is tried before its first query, or one task would fail for it."""
    reset_queries()
    _tidy()
    for connection in connections.all(initialized_only=True):
        connection.health_check_enabled = True


def _tidy() -> None:
    """End what a task has left open, and close connections that are broken or too old; its outcome stays what it is."""
    for connection in connections.all(initialized_only=True):
        try:
            if connection.in_atomic_block:
                log.warning("a task left a transaction of database %r open: it is rolled back", connection.alias)
                _discard(connection)
            else:
                connection.close_if_unusable_or_obsolete()
        except Exception as error:  # noqa: BLE001 - drivers may raise anything about a broken connection
            log.warning("a connection to database %r is given up: %s", connection.alias, describe(error))
            _discard(connection)


def _discard(connection: BaseDatabaseWrapper) -> None:
    del connections[connection.alias]
    with contextlib.suppress(Exception):
        connection.close()


def hang_up() -> None:
    """Close every connection of this thread, and every pool, so that none of them crosses a fork."""
    for connection in connections.all(initialized_only=True):
        connection.close()
        close_pool = getattr(connection, "close_pool", None)
        if close_pool:
            close_pool()
