"""The results of tasks that want one, as a child writes them, and as anybody reads them.

What one child has to write of a queue goes out together: while one call is under way, the next gathers. A record that
Redis does not take is tried again until it does, for as long as this child lives: its tasks are settled only after it.
"""

import asyncio
import logging
import random
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple, get_args

import msgspec

from multiworker.worker import commands
from multiworker.worker.backoff import exponential
from multiworker.worker.broker import Broker
from multiworker.worker.commands import Record
from multiworker.worker.connections import FreshWire
from multiworker.worker.errors import RedisUnavailable
from multiworker.worker.keys import Keys

log = logging.getLogger("multiworker.worker")

Status = Literal["READY", "RUNNING", "FAILED", "SUCCESSFUL"]

MOST, MOST_BYTES = 200, 1024 * 1024
"""Records that go out in one call, and bytes of them, unless a single one has more."""
ENDLESS = 7 * 86_400_000
"""Ms that the result of a task that has not ended stays beyond its TTL; as in lua/prelude.lua."""
MAX_VALUE = 256 * 1024
"""Bytes of a return value, as JSON."""
AGAIN, AGAIN_CAP = 0.1, 2.0
"""Seconds; the first and the highest ceiling of the wait before a record is tried again."""
_FIELDS = ("enqueued", "started", "last", "attempts", "workers", "backend", "queue", "priority", "run_after", "errors")


class Stored(NamedTuple):
    """A result as it lies in Redis.

    Args:
        status: how the task fares.
        path: of its function.
        backend: the alias of the backend that sent it.
        queue: that backend's name for the queue.
        priority: of the task.
        run_after: when it was due, in ISO 8601; empty for at once.
        enqueued: when it was sent; this and the other times by the clock of Redis.
        started: when it was first started.
        last: when it was last started.
        finished: when it ended.
        workers: who started it, oldest first; of many starts only the last ones are known by name, the others as ``?``.
        errors: exception class and traceback of its last failures.
        data: its arguments as JSON.
        value: what it returned, as JSON; empty if it did not, or not yet.
    """

    status: Status
    path: str
    backend: str
    queue: str
    priority: int
    run_after: str
    enqueued: datetime | None
    started: datetime | None
    last: datetime | None
    finished: datetime | None
    workers: list[str]
    errors: list[tuple[str, str]]
    data: bytes
    value: bytes


class Begun(NamedTuple):
    """What a record of a start found.

    Args:
        ended: how the task had ended already, in an earlier life of this delivery: it is not to run; else empty.
        reason: why it had failed.
        stored: the result.
    """

    ended: Literal["", "FAILED", "SUCCESSFUL"]
    reason: str
    stored: Stored


def read(reply: list[bytes]) -> Stored | None:
    """Read a result, as commands.result asks for it.

    Args:
        reply: fields and values in turn.

    Returns:
        The result; None if there is none, or not a whole one.
    """
    field = {name.decode("utf-8", "replace"): value for name, value in zip(reply[::2], reply[1::2], strict=True)}
    if not {"status", "path", "data"} <= field.keys() or field["status"].decode("latin-1") not in get_args(Status):
        return None
    try:
        return _stored(field)
    except (ValueError, OverflowError, OSError):  # somebody else has written into it
        return None


def _stored(field: Mapping[str, bytes | None]) -> Stored:
    def text(name: str) -> str:
        return (field.get(name) or b"").decode("utf-8", "replace")

    def time(name: str) -> datetime | None:
        value = field.get(name)
        return datetime.fromtimestamp(int(value) / 1000, UTC) if value else None

    names = text("workers").split()
    lines = (field.get("errors") or b"").splitlines()
    return Stored(
        status=text("status"),  # type: ignore[arg-type] # the scripts write no other
        path=text("path"),
        backend=text("backend"),
        queue=text("queue"),
        priority=int(field.get("priority") or 0),
        run_after=text("run_after"),
        enqueued=time("enqueued"),
        started=time("started"),
        last=time("last"),
        finished=time("finished"),
        workers=["?"] * (int(field.get("attempts") or 0) - len(names)) + names,
        errors=[error for line in lines if (error := _error(line))],
        data=field.get("data") or b"",
        value=field.get("value") or b"",
    )


def _error(line: bytes) -> tuple[str, str] | None:
    """Read what record.lua or a dead letter has left; the latter may have any bytes in it."""
    try:
        return msgspec.json.decode(line.decode("utf-8", "replace"), type=tuple[str, str])
    except msgspec.DecodeError:
        return None


class Records:
    """Writes the results of one queue, on a connection of its own.

    Args:
        broker: of the queue; it knows this worker's id.
        redis: the Redis URL.
    """

    def __init__(self, broker: Broker, redis: str) -> None:
        self._broker = broker
        self._keys = Keys(broker.queue)
        self._wire = FreshWire(redis)
        self._waiting: list[tuple[Record, asyncio.Future[Any]]] = []
        self._writing: asyncio.Task[None] | None = None

    @property
    def worker(self) -> str:
        """This worker's id."""
        return self._broker.worker

    async def start(self, task_id: str, delivery: str, path: str, frame: str) -> Begun | None:
        """Record that a task begins to run here.

        Args:
            task_id: the task's.
            delivery: its delivery id.
            path: of the function that runs it.
            frame: names its attempt, over all deliveries.

        Returns:
            The result; None if there is none of that id and path: the task wants none, or it has expired.
        """
        reply = await self._write(("start", task_id, self._run(delivery), path, frame, "", ""))
        if not reply:
            return None
        known = dict(zip(_FIELDS, reply[2:], strict=True))
        stored = _stored({**known, "status": b"RUNNING", "path": path.encode()})
        return Begun(reply[0].decode(), reply[1].decode("utf-8", "replace"), stored)

    async def end(
        self,
        task_id: str,
        delivery: str,
        status: Status,
        *,
        value: bytes = b"",
        delay: float = 0.0,
        reason: str = "",
        error: tuple[str, str] | None = None,
    ) -> None:
        """Record how a task's run ended; without effect if it has been started elsewhere since.

        Args:
            task_id: the task's.
            delivery: its delivery id.
            status: READY if it is to run again.
            value: what it returned, as JSON.
            delay: seconds until it runs again.
            reason: why it failed for good: a dead-letter reason.
            error: what it raised: the class's path, and the traceback.
        """
        what = round(delay * 1000) if status == "READY" else value
        text = msgspec.json.encode(error).decode() if error else ""
        await self._write(("end", task_id, self._run(delivery), status, what, reason, text))

    def _run(self, delivery: str) -> str:
        return f"{self.worker}/{delivery}"

    async def _write(self, record: Record) -> Any:
        future = asyncio.get_running_loop().create_future()
        self._waiting.append((record, future))
        if self._writing is None:
            self._writing = asyncio.get_running_loop().create_task(self._write_all())
        return await future

    async def _write_all(self) -> None:
        await asyncio.sleep(0)  # what begins in this turn of the loop goes out together
        while self._waiting:
            batch = self._next_batch()
            replies = await self._sent([record for record, _ in batch])
            for (_, future), reply in zip(batch, replies, strict=True):
                if not future.done():
                    future.set_result(reply)
        self._writing = None

    def _next_batch(self) -> list[tuple[Record, "asyncio.Future[Any]"]]:
        count = size = 0
        for record, _ in self._waiting[:MOST]:
            size += sum(len(part) for part in record if not isinstance(part, int))
            if count and size > MOST_BYTES:
                break
            count += 1
        batch, self._waiting = self._waiting[:count], self._waiting[count:]
        return batch

    async def _sent(self, records: list[Record]) -> list[Any]:
        failures = 0
        while True:
            try:
                reply: list[Any] = await self._wire.ask(commands.record(self._keys, self.worker, records))
            except RedisUnavailable as error:
                failures += 1
                if failures % 10 == 1:
                    log.warning("queue %s: %d results wait to be recorded: %s", self._keys.queue, len(records), error)
                jitter = 0.5 + random.random() / 2  # noqa: S311
                await asyncio.sleep(exponential(failures, jitter, base=AGAIN, cap=AGAIN_CAP))
            else:
                return reply
