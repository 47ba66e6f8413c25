"""Connections to one server that nobody uses just now, for any number of threads.

redis-py makes them. Its own pool also counts, locks and reports, which is a third of what it takes to send a task, and
refuses the 101st thread.
"""

import os
from collections.abc import Mapping
from typing import Any

from redis.connection import Connection
from redis.exceptions import RedisError


class Pool:
    """Hands out the connection that was used last, or a new one. Safe for threads, and after a fork.

    Args:
        options: redis-py's, with ``connection_class`` if it is not TCP.

    Raises:
        TypeError: redis-py knows no such option.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._options = dict(options)
        self._kind: type[Any] = self._options.pop("connection_class", Connection)
        self._idle: list[Any] = []
        self._owner = os.getpid()
        self._new()  # does not connect yet, but refuses unknown options

    def take(self) -> Any:
        """Return a connection that the server has not hung up on; whoever is through with it gives it back.

        Raises:
            RedisError, OSError: the server cannot be reached.
        """
        if self._owner != os.getpid():  # two processes on one connection would take each other's replies
            self._idle, self._owner = [], os.getpid()
        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:  # another thread was quicker
                break
            if _is_quiet(connection):
                return connection
            connection.disconnect()
        connection = self._new()
        connection.connect()
        return connection

    def give(self, connection: Any) -> None:
        """Take a connection back; nothing may be under way on it."""
        self._idle.append(connection)

    def close(self) -> None:
        """Hang up, but on what is in use."""
        idle, self._idle = self._idle, []
        for connection in idle:
            connection.disconnect()

    def _new(self) -> Any:
        return self._kind(**self._options)


def _is_quiet(connection: Any) -> bool:
    """Tell whether nothing has come that nobody asked for, the end of the connection included."""
    try:
        return not connection.can_read()
    except (RedisError, OSError):
        return False
