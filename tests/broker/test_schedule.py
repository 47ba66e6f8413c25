"""Tasks that are put off by the client."""

import pytest
import redis

from multiworker.worker import commands
from tests.broker.driver import NOON, Driver


def schedule(driver: Driver, delay: int, *frames: bytes) -> int:
    driver.pushed.update(frame.partition(b"\n")[2] for frame in frames)
    return int(driver.call(commands.schedule(driver.keys, delay, frames)))


def test_they_become_due_after_their_delay(timed: Driver) -> None:
    assert schedule(timed, 1500, b"c.1 1 0\nx", b"c.2 1 0\ny") == 2
    timed.clock = NOON + 1499
    reply = timed.step("a", 5)
    assert (reply.claims, reply.next_due) == ([], NOON + 1500)
    timed.clock = NOON + 1500
    assert timed.claim("a", 5) == [b"x", b"y"]


def test_sent_twice_they_are_there_once(timed: Driver) -> None:
    schedule(timed, 1000, b"c.1 1 0\nx")
    timed.clock = NOON + 500
    assert timed.call(commands.schedule(timed.keys, 1000, [b"c.1 1 0\nx"])) == 0
    assert len(timed.scheduled()) == 1


def test_those_that_are_due_at_once_ring(driver: Driver) -> None:
    schedule(driver, 5000, b"c.1 1 0\nx")
    assert driver.do("LLEN", driver.keys.queue) == 0
    schedule(driver, 0, b"c.2 1 0\ny")
    assert driver.do("LRANGE", driver.keys.queue, 0, -1) == [b""]


def test_ten_years_are_kept_to_the_millisecond(timed: Driver) -> None:
    years = 10 * 365 * 86_400_000
    schedule(timed, years, b"c.1 1 0\nx")
    assert list(timed.scheduled().values()) == [NOON + years]


@pytest.mark.parametrize("name", ["scheduled", "queue"])
def test_a_key_of_a_wrong_type_fails_with_nothing_done(driver: Driver, name: str) -> None:
    driver.client.set(getattr(driver.keys, name), "not yours")
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        driver.call(commands.schedule(driver.keys, 0, [b"c.1 1 0\nx"]))
    assert driver.client.type(driver.keys.scheduled) in {b"none", b"string"}
