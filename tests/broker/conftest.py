"""Fixtures that several of these files share."""

import faulthandler
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from multiworker.worker.scoreboard import Scoreboard
from tests.broker.driver import NOON, Driver
from tests.broker.proxy import Proxy
from tests.fix_redis import RedisServer


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


@pytest.fixture
def proxy(redis_server: RedisServer, redis_client: redis.Redis) -> Iterator[Proxy]:
    """Stands before the shared server, whose databases are empty."""
    directory = Path(tempfile.mkdtemp(prefix="mw-"))
    proxy = Proxy(redis_server.socket, directory)
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
