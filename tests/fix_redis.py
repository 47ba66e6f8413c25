"""A pytest plugin: a real redis-server on a unix socket, one for each process that runs tests."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

BINARIES = ("redis-server", "valkey-server")
START_TIMEOUT = 30.0
"""Seconds until a server that does not answer counts as broken; a busy machine takes its time."""


class RedisServer:
    """A redis-server that a test may stop, kill and start again; it keeps nothing on disk unless told to.

    Args:
        directory: an existing directory with a short path, for the socket and the server's files.
        options: more of redis-server's options, such as ``"--requirepass", "secret"``.
    """

    def __init__(self, directory: Path, *options: str) -> None:
        self.directory = directory
        self.socket = directory / "redis.sock"
        self.url = f"unix://{self.socket}"
        self.options = options
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The server's process id."""
        assert self._process
        return self._process.pid

    def start(self, *more: str) -> None:
        """Start the server and wait until it answers.

        Args:
            more: options for this time.
        """
        fixed = ("--port", "0", "--unixsocket", str(self.socket), "--dir", str(self.directory))
        quiet = ("--save", "", "--appendonly", "no", "--loglevel", "warning")
        with (self.directory / "redis.log").open("ab") as log:
            command = [find_server(), *fixed, *quiet, *self.options, *more]
            # Signals that Python ignores stay ignored: one is that a file is too large, which is an error then, as on
            # a full disk.
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, restore_signals=False
            )
        deadline = time.monotonic() + START_TIMEOUT
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"redis-server did not start: {(self.directory / 'redis.log').read_text()}")
            time.sleep(0.01)

    def stop(self) -> None:
        """Let the server end in order; without effect if it does not run."""
        self._end(kill=False)

    def kill(self) -> None:
        """End the server at once, as a crash would."""
        self._end(kill=True)

    def _end(self, *, kill: bool) -> None:
        if self._process:
            (self._process.kill if kill else self._process.terminate)()
            self._process.wait(START_TIMEOUT)
        self._process = None

    def _answers(self) -> bool:
        with redis.Redis(unix_socket_path=str(self.socket), retry=Retry(NoBackoff(), 0)) as client:
            try:
                return bool(client.ping())
            except redis.AuthenticationError:
                return True
            except redis.ConnectionError:
                return False


def find_server() -> str:
    """Return the path of a Redis server; without one the test is skipped, or fails under CI."""
    for name in BINARIES:
        if path := shutil.which(name):
            return path
    missing = f"none of {', '.join(BINARIES)} is on PATH"
    if os.environ.get("CI"):
        pytest.fail(missing)
    pytest.skip(missing)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """The server that this process's tests share."""
    yield from _running(RedisServer(Path(tempfile.mkdtemp(prefix="mw-"))))


@pytest.fixture
def private_redis() -> Iterator[RedisServer]:
    """A server of the test's own, to stop, kill and start again."""
    yield from _running(RedisServer(Path(tempfile.mkdtemp(prefix="mw-"))))


@pytest.fixture
def redis_client(redis_server: RedisServer) -> Iterator[redis.Redis]:
    """A plain client of the shared server, whose databases are empty; it answers in bytes."""
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
        yield client


@pytest.fixture
def redis_url(redis_server: RedisServer, redis_client: redis.Redis) -> str:
    """The URL of the shared server, whose databases are empty."""
    return redis_server.url


def _running(server: RedisServer) -> Iterator[RedisServer]:
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(server.directory)
