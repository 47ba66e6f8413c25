"""Redis users with the least rights. All tests of this folder run as them; these see that they may do nothing else."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import redis

from multiworker.worker.client import Client
from multiworker.worker.errors import RedisUnavailable
from tests.broker.conftest import ROLES
from tests.fix_redis import RedisServer


@pytest.fixture(params=ROLES)
def user(
    request: pytest.FixtureRequest, users: Mapping[str, str], redis_server: RedisServer, redis_client: redis.Redis
) -> Iterator[redis.Redis]:
    redis_client.lpush("jobs", "a")
    redis_client.set("foreign", "b")
    with redis.Redis.from_url(f"unix://{users[request.param]}{redis_server.socket}") as client:
        yield client


REFUSED: list[tuple[Any, ...]] = [
    ("FLUSHALL",),
    ("KEYS", "*"),
    ("CONFIG", "GET", "*"),
    ("ACL", "LIST"),
    ("EVAL", "return redis.call('GET', 'foreign')", 0),
    ("SCRIPT", "FLUSH"),
    ("CLIENT", "KILL", "TYPE", "normal"),
    ("SHUTDOWN", "NOSAVE"),
    ("MIGRATE", "127.0.0.1", "1", "jobs", "0", "1"),
    ("SUBSCRIBE", "x"),
    ("GET", "foreign"),
    ("LPUSH", "foreign", "x"),
    ("RPOP", "jobs"),
    ("SORT", "jobs"),
]


@pytest.mark.parametrize("command", REFUSED, ids=lambda command: command[0])
def test_what_endangers_the_server_or_others_is_refused(user: redis.Redis, command: tuple[Any, ...]) -> None:
    with pytest.raises(redis.exceptions.NoPermissionError):
        user.execute_command(*command)  # type: ignore[no-untyped-call]


def test_a_script_has_no_more_rights_than_its_caller(user: redis.Redis, redis_client: redis.Redis) -> None:
    for text in ("return redis.call('GET', 'foreign')", "return redis.call('FLUSHALL')"):
        sha: Any = redis_client.script_load(text)
        with pytest.raises(redis.ResponseError, match=r"(?i)permission|noperm|acl failure|can't"):
            user.evalsha(sha, 0)
    assert redis_client.get("foreign") == b"b"


def test_a_pusher_sends_and_reads_nothing(
    users: Mapping[str, str], redis_server: RedisServer, redis_client: redis.Redis
) -> None:
    client = Client(f"unix://{users['pusher']}{redis_server.socket}")
    client.enqueue("a")
    client.enqueue_many([("b", 1), ("c", 2)])
    with pytest.raises(RedisUnavailable, match="permission"):
        client.enqueue("a", delay=1)
    client.close()
    with redis.Redis.from_url(f"unix://{users['pusher']}{redis_server.socket}") as user:
        for command in ("LRANGE", "RPOP", "LLEN", "DEL"):
            with pytest.raises(redis.exceptions.NoPermissionError):
                user.execute_command(command, "async_tasks", *[0, -1][: 2 * (command == "LRANGE")])
    assert redis_client.llen("async_tasks") == 3
