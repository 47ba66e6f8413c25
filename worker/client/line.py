"""The asyncio side of a client in one event loop: one connection, and group commit of what comes while it is busy.

In a Cluster it has one connection a queue, as queues may lie on different nodes.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from multiworker.worker.addresses import route_of
from multiworker.worker.client.encode import CHUNK, CHUNK_BYTES, Ready, Terms, send
from multiworker.worker.commands import Command, key_of
from multiworker.worker.connections import FreshWire

MOST_WIRES = 16
"""Connections that one event loop keeps to a cluster; one a queue."""


@dataclass(slots=True)
class _Batch:
    """Tasks that go out together.

    Args:
        tasks: in order.
        size: bytes of all their payloads.
        sent: ends when Redis has them, with the number of replicas that have confirmed it.
    """

    tasks: list[Ready]
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
        self._open: dict[tuple[Terms, int], _Batch] = {}

    async def send(self, terms: Terms, task: Ready, confirm: int = 0) -> int:
        """Send one task, together with those that others send at the same time.

        If the caller is cancelled, the task may be sent all the same.

        Args:
            terms: how.
            task: the task.
            confirm: how many replicas to wait for.

        Returns:
            How many replicas have confirmed it.

        Raises:
            RedisUnavailable: whether it was sent is unknown.
        """
        kind = terms, confirm
        batch = self._open.get(kind)
        if batch and len(batch.tasks) < CHUNK and batch.size + len(task.payload) <= CHUNK_BYTES:
            batch.tasks.append(task)
            batch.size += len(task.payload)
        else:
            batch = self._open[kind] = _Batch([task], len(task.payload))
            batch.sent = asyncio.ensure_future(self._commit(kind, batch))
            batch.sent.add_done_callback(_read_error)
        return await asyncio.shield(batch.sent) if batch.sent else 0

    async def _commit(self, kind: tuple[Terms, int], batch: _Batch) -> int:
        async with self._turn:
            if self._open.get(kind) is batch:
                del self._open[kind]
            return await self._push(kind[0], batch.tasks, kind[1])

    async def send_many(self, terms: Terms, tasks: Sequence[Ready], confirm: int = 0) -> int:
        """Send tasks in one command when what came before is answered; see send()."""
        async with self._turn:
            return await self._push(terms, tasks, confirm)

    async def ask(self, command: Command) -> Any:
        """Send any command when what came before is answered, and return its reply.

        Args:
            command: from multiworker.worker.commands.

        Raises:
            RedisUnavailable: whether it was carried out is unknown.
        """
        key = key_of(command)
        async with self._turn:
            wire = await self._wire_to(key.partition("{")[2].partition("}")[0] or key)
            return await wire.ask(command)

    async def _push(self, terms: Terms, tasks: Sequence[Ready], confirm: int) -> int:
        wire = await self._wire_to(terms.queue)
        command = send(terms, tasks)
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
