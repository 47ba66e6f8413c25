"""A client: one Redis, asked from any thread and any event loop. Nothing is ever sent a second time."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Iterable, Iterator
from datetime import timedelta
from typing import Any

from redis.exceptions import NoScriptError, RedisError

from multiworker.worker.client.encode import CHUNK, chunked, delay_ms, encode, send
from multiworker.worker.client.line import Line
from multiworker.worker.commands import Command, script_load_of
from multiworker.worker.connections import sync_client
from multiworker.worker.errors import EncodeError, RedisUnavailable, SettingsError
from multiworker.worker.keys import hash_tag
from multiworker.worker.logs import describe
from multiworker.worker.settings import Settings, check_redis_url, redacted

QUEUE = "async_tasks"
"""The list that tasks go to unless another is named."""
MAX_PAYLOAD: int = Settings().max_payload
"""Bytes that a task may have unless told otherwise; workers have the same default."""


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
            self._redis = sync_client(url)
            pool = self._redis.connection_pool
            pool.connection_class(**pool.connection_kwargs)  # does not connect yet, but refuses unknown options

    def enqueue(
        self,
        type: str,  # noqa: A002 - the task's key has this name
        data: Any = None,
        *,
        id: str | None = None,  # noqa: A002 - the task's key has this name
        delay: float | timedelta | None = None,
        queue: str = QUEUE,
    ) -> str:
        """See multiworker.enqueue."""
        ms = _checked(delay, queue)
        id, payload = encode(type, data, id, self._max_payload)  # noqa: A001
        self.ask(send(queue, ms, [payload]))
        return id

    async def aenqueue(
        self,
        type: str,  # noqa: A002 - the task's key has this name
        data: Any = None,
        *,
        id: str | None = None,  # noqa: A002 - the task's key has this name
        delay: float | timedelta | None = None,
        queue: str = QUEUE,
    ) -> str:
        """See multiworker.aenqueue."""
        ms = _checked(delay, queue)
        id, payload = encode(type, data, id, self._max_payload)  # noqa: A001
        await (await self._line()).send(queue, ms, payload)
        return id

    def enqueue_many(
        self, tasks: Iterable[tuple[str, Any]], *, delay: float | timedelta | None = None, queue: str = QUEUE
    ) -> list[str]:
        """See multiworker.enqueue_many."""
        ms = _checked(delay, queue)
        ready = list(self._encoded(tasks))
        sent = 0
        for chunk in chunked(payload for _, payload in ready):
            with _counting(sent, len(ready)):
                self.ask(send(queue, ms, chunk))
            sent += len(chunk)
        return [task_id for task_id, _ in ready]

    async def aenqueue_many(
        self, tasks: Iterable[tuple[str, Any]], *, delay: float | timedelta | None = None, queue: str = QUEUE
    ) -> list[str]:
        """See multiworker.aenqueue_many."""
        ms = _checked(delay, queue)
        ready: list[tuple[str, bytes]] = []
        for task in self._encoded(tasks):
            ready.append(task)
            if len(ready) % CHUNK == 0:
                await asyncio.sleep(0)  # others on the loop get their turn
        line = await self._line()
        sent = 0
        for chunk in chunked(payload for _, payload in ready):
            with _counting(sent, len(ready)):
                await line.ask(send(queue, ms, chunk))
            sent += len(chunk)
        return [task_id for task_id, _ in ready]

    def ask(self, command: Command) -> Any:
        """Send one command and return its reply.

        Args:
            command: from multiworker.worker.commands.

        Raises:
            RedisUnavailable: no answer, or an error for an answer. Whether the command was carried out is unknown.
        """
        try:
            try:
                return self._redis.execute_command(*command)  # type: ignore[no-untyped-call]
            except NoScriptError:  # Redis restarted or forgot its scripts: nothing was done
                self._redis.execute_command(*script_load_of(command))  # type: ignore[no-untyped-call]
                return self._redis.execute_command(*command)  # type: ignore[no-untyped-call]
        except (RedisError, OSError) as error:
            raise RedisUnavailable(f"Redis at {redacted(self._url)}: {describe(error)[:300]}") from None

    def close(self) -> None:
        """Hang up the connections that threads have used; those of event loops are closed when their loop ends."""
        self._redis.close()

    def _encoded(self, tasks: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, bytes]]:
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


def _checked(delay: float | timedelta | None, queue: str) -> int:
    hash_tag(queue)
    return delay_ms(delay)


@contextlib.contextmanager
def _counting(sent: int, total: int) -> Iterator[None]:
    """Say in an error how far a bulk has come: the first of its tasks were surely sent, in their order."""
    try:
        yield
    except RedisUnavailable as error:
        raise RedisUnavailable(f"{error} (of {total} tasks, the first {sent} were surely sent)") from None


@contextlib.contextmanager
def _refusing_options(url: str) -> Iterator[None]:
    try:
        yield
    except (TypeError, ValueError, RedisError):
        raise SettingsError(f"--redis has an option in its query that cannot be: {redacted(url)}") from None
