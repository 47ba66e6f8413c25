"""Reads Redis's replies straight off the transport, for connections on which every microsecond counts.

redis-py connects, logs in and hangs up. But it reads through a stream, which wakes the reader by way of one more
future, and through five coroutines: a third of what an idle child does between a push and its handler.
"""

import asyncio
from typing import Any

from hiredis import Reader
from redis.asyncio.connection import DefaultParser
from redis.exceptions import ConnectionError, InvalidResponse, RedisError  # noqa: A004

_CLOSED = "Connection closed by server."  # as redis-py says it
_INCOMPLETE = object()


class Replies(asyncio.Protocol):
    """Takes a connection over from the protocol that has been on its transport; that one still hears of its end.

    Args:
        transport: connected, with no reply under way.
    """

    def __init__(self, transport: asyncio.WriteTransport) -> None:
        self._transport = transport
        self._before = transport.get_protocol()
        self._loop = asyncio.get_running_loop()
        self._reader = Reader(InvalidResponse, DefaultParser.parse_error, notEnoughData=_INCOMPLETE)
        self._waiter: asyncio.Future[list[Any]] | None = None
        self._came: list[Any] = []
        self._count = 0
        self._trouble: RedisError | None = None
        transport.set_protocol(self)

    def ask(self, packed: bytes, count: int) -> "asyncio.Future[list[Any]]":
        """Send something; who gives up waiting must hang up, or the next reply is taken for another's.

        Args:
            packed: commands as they go over the wire.
            count: how many they are.

        Returns:
            Their replies, errors among them; it fails if the connection does, or if one says that it is of no use.

        Raises:
            ConnectionError: it has ended, or something came that nobody had asked for.
        """
        if self._trouble:
            raise self._trouble
        self._count = count
        self._waiter = self._loop.create_future()
        self._transport.write(packed)
        return self._waiter

    def data_received(self, data: bytes) -> None:
        """Read what has come."""
        try:
            self._read(data)
        except RedisError as error:
            self._fail(error)
            return
        if len(self._came) < self._count:
            return
        if self._waiter is None or len(self._came) > self._count:
            self._fail(ConnectionError("a reply came that nobody had asked for"))
            return
        waiter, self._waiter = self._waiter, None
        came, self._came, self._count = self._came, [], 0
        if not waiter.done():
            waiter.set_result(came)

    def _read(self, data: bytes) -> None:
        self._reader.feed(data)
        while (reply := self._reader.gets()) is not _INCOMPLETE:
            if isinstance(reply, ConnectionError):  # redis-py's name for what it is no use to go on after
                raise reply
            self._came.append(reply)

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail whoever waits."""
        self._fail(ConnectionError(str(exc) if exc else _CLOSED))
        self._before.connection_lost(exc)

    def _fail(self, trouble: RedisError) -> None:
        self._trouble = self._trouble or trouble
        waiter, self._waiter = self._waiter, None
        if waiter and not waiter.done():
            waiter.set_exception(trouble)
