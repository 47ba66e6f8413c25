"""The asyncio side of a client in one event loop: one connection, and group commit of what comes while it is busy.

In a Cluster it has one connection a queue, as queues may lie on different nodes.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from multiworker.worker.addresses import route_of
from multiworker.worker.client.encode import CHUNK, CHUNK_BYTES, send
from multiworker.worker.connections import FreshWire

MOST_WIRES = 16
"""Connections that one event loop keeps to a cluster; one a queue."""


@dataclass(slots=True)
class _Batch:
    """Tasks that go out together.

    Args:
        payloads: in order.
        size: bytes of all of them.
        sent: ends when Redis has them, with the number of replicas that have confirmed it.
    """

    payloads: list[bytes]
    size: int
    sent: "asyncio.Future[int] | None" = None


class Line:
    """What one event loop uses of a client.

    Args:
        url: the Redis URL.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        route = route_of(url)
        self._is_cluster = route is not None and route.kind == "cluster"
        self._wires: dict[str, FreshWire] = {} if self._is_cluster else {"": FreshWire(url)}
        self._turn = asyncio.Lock()
        self._open: dict[tuple[str, int, int], _Batch] = {}

    async def send(self, queue: str, ms: int, payload: bytes, confirm: int = 0) -> int:
        """Send one task, together with those that others send at the same time.

        If the caller is cancelled, the task may be sent all the same.

        Args:
            queue: the list.
            ms: milliseconds to put it off.
            payload: the task.
            confirm: how many replicas to wait for.

        Returns:
            How many replicas have confirmed it.

        Raises:
            RedisUnavailable: whether it was sent is unknown.
        """
        kind = queue, ms, confirm
        batch = self._open.get(kind)
        if batch and len(batch.payloads) < CHUNK and batch.size + len(payload) <= CHUNK_BYTES:
            batch.payloads.append(payload)
            batch.size += len(payload)
        else:
            batch = self._open[kind] = _Batch([payload], len(payload))
            batch.sent = asyncio.ensure_future(self._commit(kind, batch))
            batch.sent.add_done_callback(_read_error)
        return await asyncio.shield(batch.sent) if batch.sent else 0

    async def _commit(self, kind: tuple[str, int, int], batch: _Batch) -> int:
        queue, ms, confirm = kind
        async with self._turn:
            if self._open.get(kind) is batch:
                del self._open[kind]
            return await self._push(queue, ms, batch.payloads, confirm)

    async def send_many(self, queue: str, ms: int, payloads: Sequence[bytes], confirm: int = 0) -> int:
        """Send tasks in one command when what came before is answered; see send()."""
        async with self._turn:
            return await self._push(queue, ms, payloads, confirm)

    async def _push(self, queue: str, ms: int, payloads: Sequence[bytes], confirm: int) -> int:
        wire = await self._wire_to(queue)
        command = send(queue, ms, payloads)
        if confirm:
            return await wire.ask_confirmed(command, confirm)
        await wire.ask(command)
        return 0

    async def _wire_to(self, queue: str) -> FreshWire:
        """Return the connection; it is this task's turn, so no other is in use."""
        if not self._is_cluster:
            return self._wires[""]
        wire = self._wires.pop(queue, None) or FreshWire(self._url)
        self._wires[queue] = wire  # as the one used last
        if len(self._wires) > MOST_WIRES:
            await self._wires.pop(next(iter(self._wires))).close()
        return wire

    async def close(self) -> None:
        """Hang up."""
        for wire in self._wires.values():
            await wire.close()


def _read_error(sent: "asyncio.Future[int]") -> None:
    """Read the error of a batch whose senders were all cancelled, or asyncio complains that nobody has."""
    if not sent.cancelled():
        sent.exception()
