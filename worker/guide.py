"""Where to connect: to the server that a URL names, or to the one that a Sentinel or a Cluster says holds a queue.

Nothing here connects; the asyncio and the blocking connections share it.
"""

from collections.abc import Callable
from typing import Any

from redis.crc import key_slot
from redis.exceptions import AskError, ConnectionError, MovedError, ReadOnlyError, ResponseError, TryAgainError  # noqa: A004
from redis.exceptions import TimeoutError as NoAnswer

from multiworker.worker.addresses import Place, Route, is_embedded, redacted, route_of
from multiworker.worker.commands import Command, key_of
from multiworker.worker.embedded import socket_path
from multiworker.worker.logs import describe

# A version would be looked up among all installed packages, which costs every child milliseconds and 2 MiB.
_CALLED: dict[str, Any]
try:
    from redis.driver_info import DriverInfo
except ImportError:  # redis-py before 7.2
    _CALLED = {"lib_name": "multiworker"}
else:
    _CALLED = {"driver_info": DriverInfo("multiworker", lib_version="")}

CONNECT_TIMEOUT = 5.0
"""Seconds to connect and log in."""
ANSWER_TIMEOUT = 5.0
"""Seconds that Redis may take to answer, beyond what a command waits by itself."""
LOOKUP_TIMEOUT = 1.0
"""Seconds that a sentinel, or a node that is asked for another one, may take in all; then the next is asked."""
PAUSES = (0.0, 0.0, 0.0, *[0.1] * 25)
"""Seconds after each time that a command was sent, as long as errors prove that it was not carried out."""
MOST_SEEDS = 64
"""Servers that are remembered for being asked."""
ASKING: Command = ("ASKING",)
ROLE: Command = ("ROLE",)
ALWAYS = _CALLED | {"protocol": 2, "health_check_interval": 0, "socket_connect_timeout": CONNECT_TIMEOUT}
"""Options of redis-py for every connection; CLIENT LIST shows its name."""


class Guide:
    """Finds the server that holds a queue.

    Args:
        url: the Redis URL.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.route: Route | None = route_of(url)
        self.seeds: list[Place] = list(self.route.seeds) if self.route else []
        """Whom to ask for the way, in this order."""

    def options(self, place: Place | None, parse: Callable[[str], Any]) -> dict[str, Any]:
        """Return redis-py's options for a connection to a server that holds data.

        Args:
            place: the server; None for the only one that the URL names.
            parse: redis-py's parse_url; that of asyncio or the other.
        """
        if self.route and place:
            return dict(parse(self.route.node(place)))
        return {"path": str(socket_path(self.url))} if is_embedded(self.url) else dict(parse(self.url))

    def seed_options(self, route: Route, seed: Place, parse: Callable[[str], Any]) -> dict[str, Any]:
        """Return redis-py's options for a connection to a server that knows the way; see options()."""
        return dict(parse(route.seed(seed)))

    def slot_of(self, command: Command) -> int:
        """Return the hash slot of a command's keys; 0 where all keys lie on one server."""
        return int(key_slot(key_of(command).encode())) if self.route and self.route.kind == "cluster" else 0

    def question(self, route: Route) -> Command:
        """Build what to ask a seed."""
        if route.kind == "sentinel":
            return ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", route.service)
        return ("CLUSTER", "SLOTS")

    def read(self, route: Route, reply: Any, seed: Place, slot: int) -> Place:
        """Read what a seed has answered.

        Args:
            route: names the seeds.
            reply: the answer.
            seed: who gave it; a node that does not know its own host is there, too.
            slot: of the keys.

        Returns:
            The primary.

        Raises:
            ConnectionError: the seed knows none.
        """
        if route.kind == "sentinel":
            if not reply:
                raise ConnectionError(f"the sentinel knows no primary that is called {route.service}")
            return Place(reply[0].decode(), int(reply[1]))
        primary: Place | None = None
        nodes: list[Place] = []
        for first, last, *here in reply:
            places = [Place((node[0] or b"").decode().strip("?") or seed.host, int(node[1])) for node in here]
            nodes += places
            if first <= slot <= last:
                primary = places[0]
        self.seeds = list(dict.fromkeys([seed, *route.seeds, *nodes]))[:MOST_SEEDS]
        if not primary:
            raise ConnectionError(f"no node of the cluster serves hash slot {slot}")
        return primary

    def failed(self, seed: Place) -> None:
        """Ask this one last from now on: one that is silent costs time."""
        self.seeds = [*(other for other in self.seeds if other != seed), seed]


def is_primary(role: Any) -> bool:
    """Read the reply to ROLE."""
    return bool(role[0] == b"master")


def is_redirect(error: BaseException) -> bool:
    """Tell whether an error reply proves that nothing was done, and that asking elsewhere, or later, may help.

    A script's first command is a write, so one that may not write has done nothing; before Redis 7 the reply to it
    begins with another word.
    """
    return isinstance(error, AskError | TryAgainError | ReadOnlyError) or (
        isinstance(error, ResponseError) and " -READONLY " in str(error)
    )


def target_of(error: BaseException, here: Place) -> Place | None:
    """Return the server that an error reply names; without a host in it, that of `here`, where it came from."""
    return Place(error.host or here.host, error.port) if isinstance(error, AskError) else None


def is_for_once(error: BaseException) -> bool:
    """Tell whether an error reply sends only this one command elsewhere (ASK), and not all that follow, too (MOVED)."""
    return isinstance(error, AskError) and not isinstance(error, MovedError)


def is_still_there(error: BaseException) -> bool:
    """Tell whether the server that sent an error reply holds the slot, although it is about to be another's."""
    return isinstance(error, TryAgainError) or is_for_once(error)


def seed_trouble(seed: Place, error: BaseException) -> ConnectionError:
    """Say who did not know the way, and why."""
    return ConnectionError(f"{seed}: {describe(error) if str(error) else f'no answer within {LOOKUP_TIMEOUT:g} s'}")


def trouble(url: str, error: BaseException) -> str:
    """Describe an error in one line. Redis quotes the command's beginning for unknown commands only; ours are known."""
    text = describe(error)[:300] if str(error) else f"no answer within {ANSWER_TIMEOUT:g} s"
    if isinstance(error, AskError) and not route_of(url):
        text = "it is a node of a Redis Cluster: write redis+cluster:// instead of redis://"
    elif isinstance(error, TimeoutError | NoAnswer) and url.startswith("rediss"):
        text += "; does it speak TLS?"
    return f"Redis at {redacted(url)}: {text}"
