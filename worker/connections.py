"""Connections to Redis, made by redis-py so that nothing is ever sent again behind our back.

redis-py re-sends commands by default after a lost reply, which claims or pushes twice. Here a connection is asked once;
what a lost reply means is for the protocol to find out.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import redis
import redis.asyncio
import redis.connection
from hiredis import pack_command
from redis.asyncio.connection import AbstractConnection, Connection, UnixDomainSocketConnection, parse_url
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError, ResponseError
from redis.retry import Retry

from multiworker.worker.commands import Command, script_load_of
from multiworker.worker.embedded import is_embedded, socket_path
from multiworker.worker.errors import RedisUnavailable
from multiworker.worker.logs import describe
from multiworker.worker.settings import redacted

CONNECT_TIMEOUT = 5.0
"""Seconds to connect and log in."""
ANSWER_TIMEOUT = 5.0
"""Seconds that Redis may take to answer, beyond what a command waits by itself."""
_ALWAYS: dict[str, Any] = {"protocol": 2, "health_check_interval": 0, "socket_connect_timeout": CONNECT_TIMEOUT}


class Wire:
    """One asyncio connection, for one command after the other; connects when it is first used and after an error.

    Args:
        url: the Redis URL.
    """

    def __init__(self, url: str) -> None:
        options = {**_address(url, parse_url), **_ALWAYS, "retry": AsyncRetry(NoBackoff(), 0), "socket_timeout": None}
        default = UnixDomainSocketConnection if is_embedded(url) else Connection
        kind: type[AbstractConnection] = options.pop("connection_class", default)
        self._connection = kind(**options)
        self._where = redacted(url)
        self._turn = asyncio.Lock()
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
        return (await self.ask_after(None, command, extra))[0]

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
        async with self._turn:
            try:
                async with asyncio.timeout(ANSWER_TIMEOUT + extra):
                    return await self._ask(first, command)
            except (RedisError, OSError, TimeoutError) as error:
                self.missed_at = time.monotonic_ns()
                await self._hang_up()
                raise RedisUnavailable(f"Redis at {self._where}: {_without_payload(error)}") from None
            except BaseException:
                # A reply that is still to come must not be taken for the next command's; and who cancels a request
                # wants to know that Redis will not wait for a push on its behalf any longer.
                await self._connection.disconnect()
                raise

    async def _ask(self, first: Command | None, command: Command) -> tuple[Any, bool]:
        if not self._connection.is_connected:
            await self._connection.connect()  # type: ignore[no-untyped-call]
        refused = False
        if first is None:
            await self._send(_pack(command))
        else:
            await self._send(_pack(first) + _pack(command))
            try:
                await self._connection.read_response()
            except ResponseError:
                refused = True
        try:
            return await self._connection.read_response(), refused
        except NoScriptError:  # Redis restarted or forgot its scripts: nothing was done
            for again in (script_load_of(command), command):
                await self._send(_pack(again))
                reply = await self._connection.read_response()
            return reply, refused

    async def _send(self, packed: bytes) -> None:
        await self._connection.send_packed_command(packed, check_health=False)

    async def close(self) -> None:
        """Hang up, in order."""
        await self._hang_up()

    async def _hang_up(self) -> None:
        await self._connection.disconnect(nowait=True)


def sync_client(url: str) -> redis.Redis:
    """Return a blocking client, for senders and operators.

    Args:
        url: the Redis URL.
    """
    options = {**_address(url, redis.connection.parse_url), **_ALWAYS}
    options |= {"retry": Retry(NoBackoff(), 0), "socket_timeout": ANSWER_TIMEOUT}
    if is_embedded(url):
        options["connection_class"] = redis.UnixDomainSocketConnection
    return redis.Redis(connection_pool=redis.ConnectionPool(**options))


def _address(url: str, parse: Callable[[str], Any]) -> dict[str, Any]:
    """Turn a URL into redis-py's options; the caller's win over those in the URL's query."""
    return {"path": str(socket_path(url))} if is_embedded(url) else dict(parse(url))


def _pack(command: Command) -> bytes:
    """Write a command for the wire; redis-py's own asyncio packer is ten times slower than hiredis's."""
    packed: bytes = pack_command(command)  # type: ignore[arg-type] # its stub means a tuple of one
    return packed


def _without_payload(error: BaseException) -> str:
    """Describe an error in one line. Redis quotes the command's beginning for unknown commands only; ours are known."""
    return describe(error)[:300] if str(error) else f"no answer within {ANSWER_TIMEOUT:g} s"
