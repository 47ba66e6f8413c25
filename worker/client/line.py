"""The asyncio side of a client in one event loop: one connection, and group commit of what comes while it is busy."""

import asyncio
from dataclasses import dataclass
from typing import Any

from redis.exceptions import RedisError

from multiworker.worker.client.encode import CHUNK, CHUNK_BYTES, send
from multiworker.worker.commands import Command
from multiworker.worker.connections import Wire


class FreshWire(Wire):
    """A wire that connects anew if Redis has hung up since it was last used: by then, nothing has been sent."""

    async def _ask(self, first: Command | None, command: Command) -> tuple[Any, bool]:
        if self._connection.is_connected and await self._has_ended():
            await self._hang_up()
        return await super()._ask(first, command)

    async def _has_ended(self) -> bool:
        connection: Any = self._connection
        look = getattr(connection, "can_read", None) or connection.can_read_destructive  # its name before redis-py 8
        try:
            return bool(await look())
        except (RedisError, OSError):
            return True


@dataclass(slots=True)
class _Batch:
    """Tasks that go out together.

    Args:
        payloads: in order.
        size: bytes of all of them.
        sent: ends when Redis has confirmed them.
    """

    payloads: list[bytes]
    size: int
    sent: "asyncio.Future[None] | None" = None


class Line:
    """What one event loop uses of a client.

    Args:
        url: the Redis URL.
    """

    def __init__(self, url: str) -> None:
        self._wire = FreshWire(url)
        self._turn = asyncio.Lock()
        self._open: dict[tuple[str, int], _Batch] = {}

    async def send(self, queue: str, ms: int, payload: bytes) -> None:
        """Send one task, together with those that others send at the same time.

        If the caller is cancelled, the task may be sent all the same.

        Args:
            queue: the list.
            ms: milliseconds to put it off.
            payload: the task.

        Raises:
            RedisUnavailable: whether it was sent is unknown.
        """
        batch = self._open.get((queue, ms))
        if batch and len(batch.payloads) < CHUNK and batch.size + len(payload) <= CHUNK_BYTES:
            batch.payloads.append(payload)
            batch.size += len(payload)
        else:
            batch = self._open[queue, ms] = _Batch([payload], len(payload))
            batch.sent = asyncio.ensure_future(self._commit(queue, ms, batch))
            batch.sent.add_done_callback(_read_error)
        if batch.sent:
            await asyncio.shield(batch.sent)

    async def _commit(self, queue: str, ms: int, batch: _Batch) -> None:
        async with self._turn:
            if self._open.get((queue, ms)) is batch:
                del self._open[queue, ms]
            await self._wire.ask(send(queue, ms, batch.payloads))

    async def ask(self, command: Command) -> Any:
        """Send one command when those before it are answered, and return its reply.

        Raises:
            RedisUnavailable: whether it was carried out is unknown.
        """
        async with self._turn:
            return await self._wire.ask(command)

    async def close(self) -> None:
        """Hang up."""
        await self._wire.close()


def _read_error(sent: "asyncio.Future[None]") -> None:
    """Read the error of a batch whose senders were all cancelled, or asyncio complains that nobody has."""
    if not sent.cancelled():
        sent.exception()
