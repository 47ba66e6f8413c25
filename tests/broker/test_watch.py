"""What is shown of a queue and its minutes."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis

from multiworker.worker.client import Client
from multiworker.worker.keys import Keys
from multiworker.worker.ledger import BUCKETS
from multiworker.worker.watch import Watcher, born, known_of, percentile


@pytest.fixture
def watcher(client: Client) -> Watcher:
    return Watcher(client.ask, "async_tasks")


def test_an_unknown_queue_has_done_nothing(watcher: Watcher, redis_client: redis.Redis) -> None:
    pulse = watcher.pulse(30)
    assert pulse.oldest is None
    assert len(pulse.minutes) == 30
    assert pulse.minutes[-1].start <= pulse.now < pulse.minutes[-1].start + timedelta(minutes=1)
    assert {minute.done for minute in pulse.minutes} == {0}
    assert {minute.waiting for minute in pulse.minutes} == {None}
    assert (pulse.rate, pulse.latency(0.5)) == (0, None)
    assert watcher.workers() == (0, [])
    assert redis_client.dbsize() == 0


def test_minutes_are_read_by_the_clock_of_redis(watcher: Watcher, redis_client: redis.Redis) -> None:
    this = watcher.pulse(1).minutes[0].start
    number = int(this.timestamp()) // 60 - 3
    counts: dict[Any, Any] = {
        "done": 60,
        "retried": 2,
        "dead": 1,
        "l0": 10,
        "l3": 40,
        "l99": 5,
        "waiting": 7,
        "?": "x",
        "l1": "forged",
    }
    redis_client.hset(Keys("async_tasks").minute(number), mapping=counts)
    pulse = watcher.pulse(10)
    (minute,) = [one for one in pulse.minutes if one.done]
    assert minute.start == this - timedelta(minutes=3)
    assert (minute.retried, minute.dead, minute.waiting) == (2, 1, 7)
    assert minute.latencies == [10, 0, 0, 40, *[0] * (BUCKETS - 4)]
    assert 63 / 360 < pulse.rate <= 63 / 300
    assert 0.004 <= (pulse.latency(0.9) or 0) <= 0.008


def test_the_oldest_task_is_named_with_its_age_if_its_id_tells(
    watcher: Watcher, client: Client, redis_client: redis.Redis
) -> None:
    before = datetime.now(UTC)
    task_id = client.enqueue("first", {"text": "x" * 100_000})
    client.enqueue("second")
    oldest = watcher.pulse().oldest
    assert oldest
    assert (oldest.id, oldest.type) == (task_id, "first")
    assert oldest.size > 100_000
    assert oldest.since
    assert before - timedelta(milliseconds=1) <= oldest.since <= datetime.now(UTC)

    redis_client.delete("async_tasks")
    redis_client.rpush("async_tasks", '{"type": "plain"}', "")  # the last one is a bell
    oldest = watcher.pulse().oldest
    assert oldest
    assert (oldest.id, oldest.type, oldest.since) == ("", "plain", None)

    redis_client.rpush("{async_tasks}:handoff", b"\xff{")
    oldest = watcher.pulse().oldest
    assert oldest
    assert (oldest.id, oldest.type, oldest.size) == ("", "", 2)


def test_only_a_uuid_of_version_7_tells_when_it_was_drawn(client: Client) -> None:
    at = born(client.enqueue("t"))
    assert at
    assert abs(at.timestamp() - time.time()) < 3600
    for other in ("", "mine", "0" * 32, "f" * 32, "host-1-ab.1.1", "ffffffffffff7fff8fff" + "f" * 12):
        assert born(other) is None


def test_what_is_known_of_a_payload() -> None:
    assert known_of(b'{"type": "t", "id": "i"}', 24) == ("i", "t")
    assert known_of(b'{"type": "t", "id": 5}', 22) == ("", "t")
    assert known_of(b'{"id":"i","type":"t","data":"xxx', 5000) == ("i", "t")
    assert known_of(b'{"type": "t", "da', 5000) == ("", "")
    assert known_of(b"[]", 2) == ("", "")


def test_percentiles_are_estimated_within_their_bucket() -> None:
    assert percentile([0] * BUCKETS, 0.5) is None
    assert percentile([10, 0, 0, 0], 0.5) == 0.0005
    assert percentile([0, 0, 10, 0], 0.5) == 0.003
    assert percentile([90, 0, 0, 10], 0.95) == 0.006
    assert percentile([1], 1) == 0.001
