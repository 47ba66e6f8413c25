"""Fixtures that several of these files share."""

import faulthandler
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import redis

from multiworker.worker.client import Client
from multiworker.worker.scoreboard import Scoreboard
from tests import acl
from tests.broker.driver import NOON, Driver
from tests.broker.dying import Ask
from tests.fix_redis import RedisServer
from tests.proxy import Proxy

ROLES = ("worker", "producer", "pusher", "operator")
USERS = {"test_client": "producer", "test_connections": ""}
USERS |= dict.fromkeys(("test_cli", "test_operate", "test_search", "test_watch"), "operator")
"""Test file -> the Redis user of what it tests, if not a worker; connections are tried with commands of all kinds."""
QUEUES = ("async_tasks", "jobs", "other", "others", "later", "filed", "q0", "q1", "q2")
"""Lists that these users may use."""


@pytest.fixture
def driver(redis_client: redis.Redis) -> Driver:
    """One queue with two workers, a and b, on Redis' own clock."""
    return with_workers(Driver(redis_client))


@pytest.fixture
def timed(redis_client: redis.Redis) -> Driver:
    """One queue with two workers, a and b, on a clock that the test turns."""
    return with_workers(Driver(redis_client, clock=NOON))


def with_workers(driver: Driver) -> Driver:
    for worker in ("a", "b"):
        assert driver.register(worker)
    return driver


@pytest.fixture(scope="session")
def users(redis_server: RedisServer) -> Mapping[str, str]:
    """The shared server's users, of whom each may do what operations.md says: role -> what stands in a URL."""
    with redis.Redis.from_url(redis_server.url) as client:
        for role in ROLES:
            client.execute_command("ACL", "SETUSER", role, "on", ">pass", *acl.rules(role, QUEUES).split(" "))
    return {role: f"{role}:pass@" for role in ROLES}


@pytest.fixture
def login(users: Mapping[str, str], request: pytest.FixtureRequest) -> str:
    """Who the code under test is to Redis; the tests' own client may do everything."""
    return users.get(USERS.get(request.path.stem, "worker"), "")


@pytest.fixture
def redis_url(redis_server: RedisServer, redis_client: redis.Redis, login: str) -> str:
    """The URL of the shared server, whose databases are empty, for a user with the least rights."""
    return f"unix://{login}{redis_server.socket}"


@pytest.fixture
def client(redis_url: str) -> Iterator[Client]:
    """A client of the shared server, for a user with the least rights."""
    client = Client(redis_url)
    yield client
    client.close()


@pytest.fixture
def as_worker(redis_server: RedisServer, redis_client: redis.Redis, users: Mapping[str, str]) -> Iterator[Ask]:
    """Sends commands as a worker does, where the code under test is another user."""
    client = Client(f"unix://{users['worker']}{redis_server.socket}")
    yield client.ask
    client.close()


@pytest.fixture
def as_operator(redis_server: RedisServer, redis_client: redis.Redis, users: Mapping[str, str]) -> Iterator[Ask]:
    """Sends commands as an operator does, where the code under test is a worker."""
    client = Client(f"unix://{users['operator']}{redis_server.socket}")
    yield client.ask
    client.close()


@pytest.fixture
def proxy(redis_server: RedisServer, redis_client: redis.Redis, login: str) -> Iterator[Proxy]:
    """Stands before the shared server, whose databases are empty."""
    directory = Path(tempfile.mkdtemp(prefix="mw-"))
    proxy = Proxy(redis_server.socket, directory, login)
    yield proxy
    proxy.close()
    shutil.rmtree(directory)


@pytest.fixture
def board(tmp_path: Path) -> Scoreboard:
    """A page with room for four children."""
    return Scoreboard.create(tmp_path / "board", 4)


@pytest.fixture
def no_watchdog() -> Iterator[None]:
    """Children in the test's process leave their watchdog behind, which would end this process."""
    yield
    faulthandler.cancel_dump_traceback_later()
