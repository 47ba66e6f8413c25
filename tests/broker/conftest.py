"""Fixtures for tests of the protocol's scripts."""

import pytest
import redis

from tests.broker.driver import NOON, Driver


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
