"""A pytest plugin: a primary and its replica under three sentinels; real servers on loopback."""

import random
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.fix_redis import START_TIMEOUT, RedisServer, find_server
from tests.waiting import sync_until

HOST = "127.0.0.1"
SERVICE = "main"
PORTS = range(12000, 22000)
"""Below those that the system hands out; a cluster's nodes also listen 10,000 above."""


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on, nor 10,000 above."""
    found: list[int] = []
    while len(found) < count:
        port = random.choice(PORTS)
        if port not in found and _is_free(port) and _is_free(port + 10_000):
            found.append(port)
    return found


def _is_free(port: int) -> bool:
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind((HOST, port))
        except OSError:
            return False
    return True


class Node(RedisServer):
    """A server on a port of loopback, which a test reaches by its socket whatever becomes of its topology.

    Args:
        directory: made if it is missing.
        port: where it listens.
        options: of redis-server.
    """

    def __init__(self, directory: Path, port: int, *options: str) -> None:
        directory.mkdir(exist_ok=True)
        fixed = ("--port", str(port), "--bind", HOST, "--repl-diskless-sync-delay", "0")
        super().__init__(directory, *fixed, *options)
        self.port = port

    @property
    def runs(self) -> bool:
        """It was started and not ended."""
        return self._process is not None

    def ask(self, *words: object) -> Any:
        """Send it a command; replies are text."""
        return _ask(redis.Redis(unix_socket_path=str(self.socket), decode_responses=True), *words)

    def info(self) -> dict[str, str]:
        """Return what INFO REPLICATION says."""
        with redis.Redis(unix_socket_path=str(self.socket), decode_responses=True) as client:
            found: dict[str, str] = client.info("replication")
        return found

    def has_replica(self) -> bool:
        """Tell whether it is a primary whose replica follows it."""
        info = self.info()
        return info["role"] == "master" and "online" in str(info.get("slave0", ""))


def _ask(client: redis.Redis, *words: object) -> Any:
    with client:
        return client.execute_command(*words)  # type: ignore[no-untyped-call]


class Sentinels:
    """A primary with a replica, and three sentinels that watch over them.

    Args:
        directory: an existing one with a short path.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        first, second, *self.ports = free_ports(5)
        self.nodes = [Node(directory / "a", first), Node(directory / "b", second, "--replicaof", HOST, str(first))]
        self._watchers: list[subprocess.Popen[bytes]] = []
        self.url = f"redis+sentinel://{','.join(f'{HOST}:{port}' for port in self.ports)}/{SERVICE}/0"

    def start(self) -> None:
        """Start all, and wait until they know each other."""
        for node in self.nodes:
            node.start()
        for port in self.ports:
            self._watchers.append(self._watch(port))
        sync_until(lambda: all(self._is_well(port) for port in self.ports))
        self.repair()

    def _watch(self, port: int) -> subprocess.Popen[bytes]:
        directory = self._directory / str(port)
        directory.mkdir()
        watched = f"sentinel monitor {SERVICE} {HOST} {self.nodes[0].port} 2"
        times = f"sentinel down-after-milliseconds {SERVICE} 1000\nsentinel failover-timeout {SERVICE} 2000"
        config = directory / "sentinel.conf"
        config.write_text(f"port {port}\nbind {HOST}\ndir {directory}\n{watched}\n{times}\n")
        with (directory / "log").open("ab") as log:
            command = [find_server(), str(config), "--sentinel"]
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def stop(self) -> None:
        """End all."""
        for watcher in self._watchers:
            watcher.kill()
            watcher.wait(START_TIMEOUT)
        for node in self.nodes:
            node.kill()

    def primary(self) -> Node:
        """Return the node that the first sentinel names."""
        _, port = self.ask(self.ports[0], "SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)
        return next(node for node in self.nodes if node.port == int(port))

    def ask(self, port: int, *words: object) -> Any:
        """Send a sentinel a command."""
        retry = Retry(NoBackoff(), 0)
        return _ask(redis.Redis(host=HOST, port=port, decode_responses=True, retry=retry), *words)

    def restart(self) -> None:
        """Start what does not run, and wait until there is a replica.

        A primary that was deposed is told at once; the sentinels would take ten seconds.
        """
        for node in self.nodes:
            if not node.runs:
                node.start()
            if node is not self.primary() and node.info()["role"] == "master":
                node.ask("REPLICAOF", HOST, self.primary().port)
        sync_until(lambda: self.primary().has_replica())

    def repair(self) -> None:
        """Start what does not run, and wait until a failover is possible; that takes sentinels ten seconds or two."""
        self.restart()
        sync_until(lambda: all(self._is_well(port) for port in self.ports))

    def _is_well(self, port: int) -> bool:
        try:
            flat = self.ask(port, "SENTINEL", "MASTER", SERVICE)
            replicas = self.ask(port, "SENTINEL", "REPLICAS", SERVICE)
        except (redis.ConnectionError, redis.ResponseError):
            return False
        state = _pairs(flat)
        of_replicas = [_pairs(one) for one in replicas]
        return (
            (state["flags"], state["num-other-sentinels"]) == ("master", "2")
            and [one["flags"] for one in of_replicas] == ["slave"]
            and of_replicas[0]["master-link-status"] == "ok"
            and self.primary().has_replica()
        )

    def fail_over(self) -> None:
        """Have the sentinels make the replica the primary, and wait until it is."""
        before = self.primary()
        self.ask(self.ports[0], "SENTINEL", "FAILOVER", SERVICE)
        sync_until(lambda: self.primary() is not before)

    def lose_primary(self) -> None:
        """Kill the primary, and wait until the sentinels name the other."""
        before = self.primary()
        before.kill()
        sync_until(lambda: self.primary() is not before)


def _pairs(flat: Any) -> dict[str, str]:
    return flat if isinstance(flat, dict) else dict(zip(flat[::2], flat[1::2], strict=True))


def running(made: Any, directory: Path) -> Iterator[Any]:
    try:
        made.start()
        yield made
    finally:
        made.stop()
        shutil.rmtree(directory)


@pytest.fixture(scope="session")
def _sentinels() -> Iterator[Sentinels]:
    directory = Path(tempfile.mkdtemp(prefix="mw-"))
    yield from running(Sentinels(directory), directory)


@pytest.fixture
def sentinels(_sentinels: Sentinels) -> Sentinels:
    """A primary under sentinels, well and empty."""
    _sentinels.repair()
    _sentinels.primary().ask("FLUSHALL")
    return _sentinels


@pytest.fixture
def private_sentinels() -> Iterator[Sentinels]:
    """A primary under sentinels, to kill."""
    directory = Path(tempfile.mkdtemp(prefix="mw-"))
    yield from running(Sentinels(directory), directory)
