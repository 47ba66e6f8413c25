"""Blocking connections to Redis, for any number of threads. Nothing is ever sent again after a lost reply."""

import time
from collections.abc import Sequence
from typing import Any

from redis.backoff import NoBackoff
from redis.connection import UnixDomainSocketConnection, parse_url
from redis.exceptions import ConnectionError, NoScriptError, RedisError, ResponseError  # noqa: A004
from redis.retry import Retry

from multiworker.worker import commands, guide
from multiworker.worker.addresses import Place, Route, is_embedded
from multiworker.worker.commands import Command, packed_of, script_load_of
from multiworker.worker.errors import RedisUnavailable
from multiworker.worker.guide import ALWAYS, ANSWER_TIMEOUT, ASKING, LOOKUP_TIMEOUT, PAUSES, ROLE, Guide
from multiworker.worker.pool import Pool


class Caller:
    """Asks the Redis that a URL names; connects when it is first used. Safe for threads, and after a fork.

    Args:
        url: the Redis URL.
    """

    def __init__(self, url: str) -> None:
        self._guide = Guide(url)
        self._pools: dict[Place | None, Pool] = {}
        self._places: dict[int, Place] = {}
        """Hash slot -> the server that was found for it."""
        if not self._guide.route:
            self._pool(None)  # refuses unknown options

    def ask(self, command: Command) -> Any:
        """Send one command and return its reply.

        Args:
            command: from multiworker.worker.commands.

        Raises:
            RedisUnavailable: no answer, or an error for an answer. Whether the command was carried out is unknown.
        """
        return self._converse((command,))[0]

    def ask_confirmed(self, command: Command, replicas: int) -> int:
        """Send one command, and have replicas confirm that they have what it wrote.

        Args:
            command: from multiworker.worker.commands.
            replicas: how many to wait for.

        Returns:
            How many have confirmed in time.

        Raises:
            RedisUnavailable: as ask().
        """
        reply = self._converse((command, commands.confirm(replicas)))[1]
        confirmed = reply if isinstance(reply, int) else 0
        if confirmed < replicas:
            self._forget(self._guide.slot_of(command))  # it may be a primary no more
        return confirmed

    def close(self) -> None:
        """Hang up."""
        for pool in list(self._pools.values()):
            pool.close()

    def _converse(self, asked: Sequence[Command]) -> list[Any]:
        """Send commands in one go; only the first one's errors matter."""
        slot = self._guide.slot_of(asked[0])
        try:
            return self._ask(asked, slot)
        except (RedisError, OSError) as error:
            self._forget(slot)
            raise RedisUnavailable(guide.trouble(self._guide.url, error)) from None

    def _ask(self, asked: Sequence[Command], slot: int) -> list[Any]:
        """Ask where the slot lies, and again where an error reply proves that nothing was done."""
        trouble: ResponseError | None = None
        for pause in PAUSES:
            place = self._place(slot)
            try:
                if trouble and place and guide.is_for_once(trouble):
                    return self._exchange(guide.target_of(trouble, place), [ASKING, *asked], 1)[1:]
                return self._exchange(place, asked, 0)
            except ResponseError as error:
                if not place or not guide.is_redirect(error):
                    raise
                trouble = error
                if not guide.is_still_there(error):
                    self._move(slot, guide.target_of(error, place))
            time.sleep(pause)
        raise trouble or ConnectionError("not asked")

    def _place(self, slot: int) -> Place | None:
        route = self._guide.route
        if not route:
            return None
        place = self._places.get(slot)
        if not place:
            place = self._places[slot] = self._look_up(route, slot)
        return place

    def _move(self, slot: int, place: Place | None) -> None:
        if place:
            self._places[slot] = place
        else:
            self._forget(slot)

    def _forget(self, slot: int) -> None:
        """Look the slot up before it is asked again; its server may have gone for good."""
        place = self._places.pop(slot, None)
        pool = self._pools.pop(place, None) if place else None
        if pool:
            pool.close()

    def _look_up(self, route: Route, slot: int) -> Place:
        """Ask one seed after the other."""
        trouble: Exception = ConnectionError("nobody to ask")
        for seed in self._guide.seeds:
            options = self._guide.seed_options(route, seed, parse_url) | ALWAYS | {"retry": Retry(NoBackoff(), 0)}
            timeouts = {"socket_timeout": LOOKUP_TIMEOUT, "socket_connect_timeout": LOOKUP_TIMEOUT}
            pool = Pool(options | timeouts)
            try:
                (reply,) = _exchange(pool, [self._guide.question(route)], 0)
                return self._guide.read(route, reply, seed, slot)
            except (RedisError, OSError) as error:
                self._guide.failed(seed)
                trouble = guide.seed_trouble(seed, error)
            finally:
                pool.close()
        raise trouble

    def _exchange(self, place: Place | None, asked: Sequence[Command], main: int) -> list[Any]:
        return _exchange(self._pool(place), asked, main)

    def _pool(self, place: Place | None) -> Pool:
        """Return the connections to one server."""
        known = self._pools.get(place)
        if known:
            return known
        options = self._guide.options(place, parse_url) | ALWAYS
        options |= {"retry": Retry(NoBackoff(), 0), "socket_timeout": ANSWER_TIMEOUT}
        if is_embedded(self._guide.url):
            options["connection_class"] = UnixDomainSocketConnection
        if self._guide.route and self._guide.route.kind == "sentinel":
            options["redis_connect_func"] = _greet_primary
        return self._pools.setdefault(place, Pool(options))


def _greet_primary(connection: Any) -> None:
    """Log in, and refuse a server that was a primary once: sentinels may not have heard yet."""
    connection.on_connect()
    connection.send_command(*ROLE)
    if not guide.is_primary(connection.read_response()):
        raise ConnectionError(f"{connection.host}:{connection.port} is not a primary, or not yet")


def _exchange(pool: Pool, asked: Sequence[Command], main: int) -> list[Any]:
    """Send commands in one go and return their replies; of the main one an error is raised, of others it is a reply."""
    connection = pool.take()
    try:
        replies = _send(connection, asked)
        if isinstance(replies[main], NoScriptError):  # Redis restarted or forgot its scripts: nothing was done
            replies[main:] = _send(connection, [script_load_of(asked[main]), *asked[main:]])[1:]
    except BaseException:
        connection.disconnect()  # a reply that is still to come must not be taken for the next command's
        raise
    pool.give(connection)
    if isinstance(replies[main], ResponseError):
        raise replies[main]
    return replies


def _send(connection: Any, asked: Sequence[Command]) -> list[Any]:
    connection.send_packed_command([packed_of(asked)], check_health=False)
    replies: list[Any] = []
    for _ in asked:
        try:
            replies.append(connection.read_response())
        except ResponseError as error:
            replies.append(error)
    return replies
