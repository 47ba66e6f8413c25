"""A client: one Redis, asked from any thread and any event loop. Nothing is ever sent a second time."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from datetime import timedelta
from typing import Any

from redis.exceptions import RedisError

from multiworker.worker.addresses import check_redis_url, redacted
from multiworker.worker.caller import Caller
from multiworker.worker.client.encode import CHUNK, Ready, Terms, check_priority, chunked, delay_ms, encode, send
from multiworker.worker.client.line import Line
from multiworker.worker.commands import Command
from multiworker.worker.errors import EncodeError, NotConfirmed, RedisUnavailable, SettingsError
from multiworker.worker.keys import hash_tag
from multiworker.worker.settings import DEFAULT_QUEUE, Settings

QUEUE = DEFAULT_QUEUE
"""The list that tasks go to unless another is named."""
MAX_PAYLOAD: int = Settings().max_payload
"""Bytes that a task may have unless told otherwise; workers have the same default."""
MOST_REPLICAS = 1000
"""Replicas that may be asked to confirm."""


class Client:
    """Sends tasks to one Redis; connects when it is first used. Safe for threads, event loops, and after a fork.

    Args:
        url: the Redis URL.
        max_payload: bytes that a task may have; not more than the workers' ``--max-payload``.

    Raises:
        SettingsError: the URL cannot be.
    """

    def __init__(self, url: str, *, max_payload: int = MAX_PAYLOAD) -> None:
        check_redis_url(url)
        self._url = url
        self._max_payload = max_payload
        self._lines: dict[asyncio.AbstractEventLoop, tuple[Line, AsyncGenerator[None, None]]] = {}
        with _refusing_options(url):
            self._caller = Caller(url)

    def enqueue(
        self,
        type: str,  # noqa: A002 - the task's key has this name
        data: Any = None,
        *,
        id: str | None = None,  # noqa: A002 - the task's key has this name
        delay: float | timedelta | None = None,
        queue: str = QUEUE,
        confirm: int = 0,
        priority: int = 0,
    ) -> str:
        """See multiworker.enqueue."""
        terms = _checked(delay, queue, confirm, priority)
        task = encode(type, data, id, self._max_payload)
        self._send(send(terms, [task]), [task.id], confirm)
        return task.id

    async def aenqueue(
        self,
        type: str,  # noqa: A002 - the task's key has this name
        data: Any = None,
        *,
        id: str | None = None,  # noqa: A002 - the task's key has this name
        delay: float | timedelta | None = None,
        queue: str = QUEUE,
        confirm: int = 0,
        priority: int = 0,
    ) -> str:
        """See multiworker.aenqueue."""
        terms = _checked(delay, queue, confirm, priority)
        task = self.encode(type, data, id)
        await self._asend(terms, task, confirm)
        return task.id

    async def asend_encoded(
        self,
        task: Ready,
        *,
        delay: float | timedelta | None = None,
        queue: str = QUEUE,
        confirm: int = 0,
        priority: int = 0,
    ) -> None:
        """Send a task that encode() has made, together with those that are sent at the same time; see aenqueue().

        Args:
            task: what was encoded.
            delay: as for multiworker.aenqueue, and so are the others.
            queue: see there.
            confirm: see there.
            priority: see there.
        """
        await self._asend(_checked(delay, queue, confirm, priority), task, confirm)

    def enqueue_many(
        self,
        tasks: Iterable[tuple[str, Any]],
        *,
        delay: float | timedelta | None = None,
        queue: str = QUEUE,
        confirm: int = 0,
        priority: int = 0,
    ) -> list[str]:
        """See multiworker.enqueue_many."""
        _checked(delay, queue, confirm, priority)
        ready = self.encode_all(tasks)
        self.send_encoded(ready, delay=delay, queue=queue, confirm=confirm, priority=priority)
        return [task.id for task in ready]

    def encode_all(self, tasks: Iterable[tuple[str, Any]]) -> list[Ready]:
        """Check and encode tasks, to be sent later; see multiworker.enqueue_many.

        Args:
            tasks: type and data of each.

        Raises:
            EncodeError: one of them cannot be sent as it is.
        """
        return list(self._encoded(tasks))

    def encode(self, type: str, data: Any, id: str | None) -> Ready:  # noqa: A002 - the task's keys
        """Check and encode one task, to be sent later; see multiworker.enqueue.

        Raises:
            EncodeError, ValueError: it cannot be sent as it is.
        """
        return encode(type, data, id, self._max_payload)

    def send_encoded(
        self,
        tasks: Sequence[Ready],
        *,
        delay: float | timedelta | None = None,
        queue: str = QUEUE,
        confirm: int = 0,
        priority: int = 0,
    ) -> None:
        """Send tasks that encode() has made, about a thousand in a round trip; see multiworker.enqueue_many.

        Args:
            tasks: what was encoded; with none, the other arguments are checked all the same.
            delay: as there, and so are the others.
            queue: as there.
            confirm: as there.
            priority: as there.
        """
        terms = _checked(delay, queue, confirm, priority)
        sent = 0
        for chunk in chunked(tasks):
            ids = [task.id for task in chunk]
            with _counting(sent, len(tasks)):
                self._send(send(terms, chunk), ids, confirm)
            sent += len(chunk)

    async def aenqueue_many(
        self,
        tasks: Iterable[tuple[str, Any]],
        *,
        delay: float | timedelta | None = None,
        queue: str = QUEUE,
        confirm: int = 0,
        priority: int = 0,
    ) -> list[str]:
        """See multiworker.aenqueue_many."""
        terms = _checked(delay, queue, confirm, priority)
        ready: list[Ready] = []
        for task in self._encoded(tasks):
            ready.append(task)
            if len(ready) % CHUNK == 0:
                await asyncio.sleep(0)  # others on the loop get their turn
        line = await self._line()
        sent = 0
        for chunk in chunked(ready):
            ids = [task.id for task in chunk]
            with _counting(sent, len(ready)):
                _require(await line.send_many(terms, chunk, confirm), confirm, ids)
            sent += len(chunk)
        return [task.id for task in ready]

    def ask(self, command: Command) -> Any:
        """Send one command and return its reply.

        Args:
            command: from multiworker.worker.commands.

        Raises:
            RedisUnavailable: no answer, or an error for an answer. Whether the command was carried out is unknown.
        """
        return self._caller.ask(command)

    async def aask(self, command: Command) -> Any:
        """Send one command without blocking the event loop, and return its reply; see ask()."""
        return await (await self._line()).ask(command)

    def _send(self, command: Command, ids: list[str], confirm: int) -> None:
        if confirm:
            _require(self._caller.ask_confirmed(command, confirm), confirm, ids)
        else:
            self._caller.ask(command)

    async def _asend(self, terms: Terms, task: Ready, confirm: int) -> None:
        _require(await (await self._line()).send(terms, task, confirm), confirm, [task.id])

    def close(self) -> None:
        """Hang up the connections that threads have used; those of event loops are closed when their loop ends."""
        self._caller.close()

    def _encoded(self, tasks: Iterable[tuple[str, Any]]) -> Iterator[Ready]:
        for number, (kind, data) in enumerate(tasks):
            try:
                yield encode(kind, data, None, self._max_payload)
            except EncodeError as error:
                raise EncodeError(error.reason, f"task {number}, counted from 0: {error.detail}") from None

    async def _line(self) -> Line:
        loop = asyncio.get_running_loop()
        known = self._lines.get(loop)
        if known:
            return known[0]
        for other in list(self._lines):
            if other.is_closed():
                self._lines.pop(other, None)
        with _refusing_options(self._url):
            line = Line(self._url)
        keeper = self._keep(loop, line)
        self._lines[loop] = line, keeper
        await anext(keeper)
        return line

    async def _keep(self, loop: asyncio.AbstractEventLoop, line: Line) -> AsyncGenerator[None, None]:
        """Let go of a loop's line when this generator is closed, which a loop does with all generators as it ends."""
        try:
            yield
        finally:
            self._lines.pop(loop, None)
            await line.close()


def _checked(delay: float | timedelta | None, queue: str, confirm: int, priority: int) -> Terms:
    hash_tag(queue)
    if not 0 <= confirm <= MOST_REPLICAS:
        raise ValueError(f"confirm is a number of replicas, 0 to {MOST_REPLICAS}, not {confirm!r}")
    return Terms(queue, delay_ms(delay), check_priority(priority))


def _require(confirmed: int, wanted: int, ids: list[str]) -> None:
    if confirmed < wanted:
        raise NotConfirmed(ids, confirmed, wanted)


@contextlib.contextmanager
def _counting(sent: int, total: int) -> Iterator[None]:
    """Say in an error how far a bulk has come: the first of its tasks were surely sent, in their order."""
    try:
        yield
    except (RedisUnavailable, NotConfirmed) as error:
        if total == 1:
            raise
        if isinstance(error, NotConfirmed):
            more = f" (of {total} tasks, the {sent} before them were confirmed, and those after them not sent)"
            raise NotConfirmed(error.ids, error.confirmed, error.wanted, more) from None
        raise RedisUnavailable(f"{error} (of {total} tasks, the first {sent} were surely sent)") from None


@contextlib.contextmanager
def _refusing_options(url: str) -> Iterator[None]:
    try:
        yield
    except (TypeError, ValueError, RedisError):
        raise SettingsError(f"--redis has an option in its query that cannot be: {redacted(url)}") from None
