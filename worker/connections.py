"""Asyncio connections to Redis, made by redis-py so that nothing is ever sent again behind our back.

redis-py re-sends commands by default after a lost reply, which claims or pushes twice. Here a connection is asked once;
what a lost reply means is for the protocol to find out.
"""

import asyncio
import contextlib
import time
from collections.abc import Sequence
from typing import Any

from redis.asyncio.connection import AbstractConnection, Connection, UnixDomainSocketConnection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError, MovedError, NoScriptError, RedisError, ResponseError  # noqa: A004

from multiworker.worker import commands, guide
from multiworker.worker.addresses import Place, Route, is_embedded
from multiworker.worker.commands import Command, packed_of, script_load_of
from multiworker.worker.deadline import Deadline
from multiworker.worker.errors import RedisUnavailable
from multiworker.worker.guide import ALWAYS, ASKING, LOOKUP_TIMEOUT, PAUSES, ROLE, Guide
from multiworker.worker.replies import Replies


class Wire:
    """One asyncio connection, for one command after the other; connects when it is first used and after an error.

    In a Cluster all commands of one wire concern keys of one hash slot. Where to connect is looked up each time. What
    Redis has told before may be gone then, as a replica that is promoted lacks what was written last: so a wire follows
    no redirection by itself, and who asked learns that it is on a new connection by an error.

    Args:
        url: the Redis URL.
    """

    def __init__(self, url: str) -> None:
        self._guide = Guide(url)
        self._place: Place | None = self._guide.seeds[0] if self._guide.route else None
        self._connection = self._new(self._place)
        self._moved_to: Place | None = None
        self._left_behind = False
        self._turn = asyncio.Lock()
        self._deadline = Deadline()
        self._replies: Replies | None = None
        self.missed_at = 0
        """Monotonic ns at which a command last failed, or got no answer in time."""

    async def ask(self, command: Command, extra: float = 0.0) -> Any:
        """Send one command and return its reply.

        Args:
            command: from multiworker.worker.commands.
            extra: seconds that the command may wait by itself.

        Raises:
            RedisUnavailable: no answer, or an error for an answer. Whether the command was carried out is unknown.
        """
        return (await self._converse((command,), 0, extra))[0]

    async def ask_after(self, first: Command | None, command: Command, extra: float = 0.0) -> tuple[Any, bool]:
        """Send two commands in one go; Redis carries the second out as soon as it is through with the first.

        Args:
            first: a command whose reply says nothing, such as a wait; None for none.
            command: from multiworker.worker.commands.
            extra: seconds that they may wait by themselves.

        Returns:
            The second one's reply; and whether the first one was refused.

        Raises:
            RedisUnavailable: no answer, or an error for an answer. Whether the commands were carried out is unknown.
        """
        if first is None:
            return await self.ask(command, extra), False
        before, reply = await self._converse((first, command), 1, extra)
        return reply, isinstance(before, ResponseError)

    async def _converse(self, asked: Sequence[Command], main: int, extra: float) -> list[Any]:
        """Send commands in one go when those before them are answered; only the main one's errors matter."""
        async with self._turn:
            try:
                with self._deadline.after(guide.ANSWER_TIMEOUT + extra):
                    return await self._ask(asked, main)
            except (RedisError, OSError, TimeoutError) as error:
                self.missed_at = time.monotonic_ns()
                await self._hang_up()
                if isinstance(error, MovedError) and self._place:
                    self._moved_to = guide.target_of(error, self._place)
                raise RedisUnavailable(guide.trouble(self._guide.url, error)) from None
            except BaseException:
                # A reply that is still to come must not be taken for the next command's; and who cancels a request
                # wants to know that Redis will not wait for a push on its behalf any longer.
                await self._connection.disconnect()
                raise

    async def find_primary(self) -> Place | None:
        """Ask the sentinels who is the primary; None if there are none, or none answers."""
        route = self._guide.route
        if route and route.kind == "sentinel":
            with contextlib.suppress(RedisError, OSError):
                return await self._look_up(route, 0)
        return None

    def expect(self, primary: Place) -> None:
        """Have the next command end in an error, and the one after it connect anew, if another is the primary now.

        After a failover the old one does not know of it for ten seconds, or while the network is cut; what it is told
        meanwhile will be lost.
        """
        self._left_behind = self._connection.is_connected and primary != self._place

    async def _ask(self, asked: Sequence[Command], main: int) -> list[Any]:
        if self._left_behind:
            self._left_behind = False
            raise ConnectionError(f"the sentinels name another primary than {self._place}")
        if not self._connection.is_connected:
            await self._connect(asked[main])
        return await _exchange(self._replies or self._connection, asked, main)

    async def _connect(self, command: Command) -> None:
        route = self._guide.route
        if route:
            place, self._moved_to = self._moved_to, None
            self._place = place or await self._look_up(route, self._guide.slot_of(command))
            self._connection = self._new(self._place)
        await self._connection.connect()  # type: ignore[no-untyped-call]
        if route and route.kind == "sentinel" and not guide.is_primary((await _send(self._connection, [ROLE]))[0]):
            raise ConnectionError(f"{self._place} is not a primary, or not yet")
        self._replies = self._read_directly()

    def _read_directly(self) -> Replies | None:
        """Take the connection over from redis-py, if it has its transport where it always had it."""
        writer = getattr(self._connection, "_writer", None)
        return Replies(writer.transport) if isinstance(writer, asyncio.StreamWriter) else None

    async def _look_up(self, route: Route, slot: int) -> Place:
        """Ask one seed after the other."""
        trouble: Exception = ConnectionError("nobody to ask")
        for seed in self._guide.seeds:
            connection = _connection(self._guide.seed_options(route, seed, parse_url), default=Connection)
            try:
                async with asyncio.timeout(LOOKUP_TIMEOUT):
                    await connection.connect()  # type: ignore[no-untyped-call]
                    (reply,) = await _exchange(connection, [self._guide.question(route)], 0)
                    return self._guide.read(route, reply, seed, slot)
            except (RedisError, OSError, TimeoutError) as error:
                self._guide.failed(seed)
                trouble = guide.seed_trouble(seed, error)
            finally:
                await connection.disconnect(nowait=True)
        raise trouble

    def _new(self, place: Place | None) -> AbstractConnection:
        default = UnixDomainSocketConnection if is_embedded(self._guide.url) else Connection
        return _connection(self._guide.options(place, parse_url), default)

    async def close(self) -> None:
        """Hang up, in order: TLS says goodbye, and the loop may end right after this."""
        with contextlib.suppress(RedisError, OSError):
            await self._connection.disconnect()

    async def _hang_up(self) -> None:
        await self._connection.disconnect(nowait=True)


class FreshWire(Wire):
    """A wire for what needs no memory of what was asked before: it goes where Redis sends it.

    It connects anew if Redis has hung up since it was last used, for by then nothing has been sent; and it asks again
    where an error reply proves that nothing was done.
    """

    async def ask_confirmed(self, command: Command, replicas: int) -> int:
        """Send one command, and have replicas confirm that they have what it wrote.

        Args:
            command: from multiworker.worker.commands.
            replicas: how many to wait for.

        Returns:
            How many have confirmed in time.

        Raises:
            RedisUnavailable: as ask().
        """
        asked = (command, commands.confirm(replicas))
        reply = (await self._converse(asked, 0, commands.CONFIRM_MS / 1000))[1]
        confirmed = reply if isinstance(reply, int) else 0
        if confirmed < replicas:
            await self._hang_up()  # it may be a primary no more: look it up for what comes next
        return confirmed

    def _read_directly(self) -> None:
        """Leave it to redis-py, which can be asked whether a connection has ended."""

    async def _ask(self, asked: Sequence[Command], main: int) -> list[Any]:
        if self._connection.is_connected and (self._left_behind or await self._has_ended()):
            await self._hang_up()
        self._left_behind = False
        trouble: ResponseError | None = None
        for pause in PAUSES:
            try:
                if trouble and self._place and guide.is_for_once(trouble):
                    return await self._ask_aside(trouble, self._place, asked, main)
                return await super()._ask(asked, main)
            except ResponseError as error:
                if not self._place or not guide.is_redirect(error):
                    raise
                trouble = error
                if not guide.is_still_there(error):
                    await self._hang_up()
                    self._moved_to = guide.target_of(error, self._place)
            await asyncio.sleep(pause)
        raise trouble or ConnectionError("not asked")

    async def _ask_aside(self, error: ResponseError, here: Place, asked: Sequence[Command], main: int) -> list[Any]:
        """Ask a server that holds some keys of a slot already, which is still another's."""
        connection = self._new(guide.target_of(error, here))
        try:
            await connection.connect()  # type: ignore[no-untyped-call]
            return (await _exchange(connection, [ASKING, *asked], main + 1))[1:]
        finally:
            await connection.disconnect(nowait=True)

    async def _has_ended(self) -> bool:
        connection: Any = self._connection
        look = getattr(connection, "can_read", None) or connection.can_read_destructive  # its name before redis-py 8
        try:
            return bool(await look())
        except (RedisError, OSError):
            return True


def _connection(options: dict[str, Any], default: type[AbstractConnection]) -> AbstractConnection:
    options |= {**ALWAYS, "retry": Retry(NoBackoff(), 0), "socket_timeout": None}
    kind: type[AbstractConnection] = options.pop("connection_class", default)
    return kind(**options)


async def _exchange(connection: AbstractConnection | Replies, asked: Sequence[Command], main: int) -> list[Any]:
    """Send commands in one go and return their replies; of the main one an error is raised, of others it is a reply."""
    replies = await _send(connection, asked)
    if isinstance(replies[main], NoScriptError):  # Redis restarted or forgot its scripts: nothing was done
        again = await _send(connection, [script_load_of(asked[main]), *asked[main:]])
        replies[main:] = again[1:]
    if isinstance(replies[main], ResponseError):
        raise replies[main]
    return replies


async def _send(connection: AbstractConnection | Replies, asked: Sequence[Command]) -> list[Any]:
    packed = packed_of(asked)
    if isinstance(connection, Replies):
        return await connection.ask(packed, len(asked))
    await connection.send_packed_command(packed, check_health=False)
    replies: list[Any] = []
    for _ in asked:
        try:
            replies.append(await connection.read_response())
        except ResponseError as error:
            replies.append(error)
    return replies
