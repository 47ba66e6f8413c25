"""Connections that are handed out again, and those that are not."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
import redis
from redis.connection import parse_url

from multiworker.worker.pool import Pool

MANY = 150
"""More than redis-py's own pool gives out."""


@pytest.fixture
def pool(redis_url: str) -> Iterator[Pool]:
    pool = Pool(parse_url(redis_url))  # type: ignore[no-untyped-call]
    yield pool
    pool.close()


def used(pool: Pool) -> Any:
    """Ask something on the connection that is handed out now, give it back, and say which it was."""
    connection = pool.take()
    connection.send_command("LLEN", "jobs")
    assert connection.read_response() == 0
    pool.give(connection)
    return connection


def test_the_connection_that_was_used_last_is_taken_first(pool: Pool) -> None:
    first, second = pool.take(), pool.take()
    assert first is not second
    pool.give(first)
    pool.give(second)
    assert [used(pool), used(pool)] == [second, second]


def test_what_the_server_has_hung_up_on_is_not_handed_out(pool: Pool, redis_client: redis.Redis) -> None:
    before = used(pool)
    redis_client.client_kill_filter(_type="normal", skipme=True)
    assert used(pool) is not before


def test_a_reply_that_nobody_has_read_is_not_taken_for_the_next(pool: Pool) -> None:
    before = pool.take()
    before.send_command("PING")
    while not before.can_read(1):
        continue
    pool.give(before)
    assert used(pool) is not before


def test_there_is_one_for_each_of_many_threads(pool: Pool) -> None:
    all_have_one = Barrier(MANY)

    def use(_: int) -> Any:
        connection = pool.take()
        all_have_one.wait(30)
        pool.give(connection)
        return connection

    with ThreadPoolExecutor(MANY) as threads:
        assert len(set(map(id, threads.map(use, range(MANY))))) == MANY


def test_a_forked_process_has_connections_of_its_own(pool: Pool) -> None:
    before = used(pool)
    pid = os.fork()
    if not pid:
        os._exit(used(pool) is before)
    assert os.waitpid(pid, 0)[1] == 0
    assert used(pool) is before


def test_after_its_end_it_connects_anew(pool: Pool) -> None:
    before = used(pool)
    pool.close()
    assert used(pool) is not before


def test_an_option_that_there_is_not_is_refused() -> None:
    with pytest.raises(TypeError, match="no_such_option"):
        Pool({"no_such_option": 1})
