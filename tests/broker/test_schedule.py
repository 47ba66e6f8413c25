"""Tasks that are put off by the client."""

import pytest
import redis

from multiworker.worker import commands
from tests.broker.driver import NOON, Driver


def schedule(driver: Driver, delay: int, *tasks: tuple[str, bytes]) -> int:
    driver.pushed.update(payload for _, payload in tasks)
    return int(driver.call(commands.schedule(driver.keys, delay, 0, tasks)))


def test_they_become_due_after_their_delay(timed: Driver) -> None:
    assert schedule(timed, 1500, ("c.1", b"x"), ("c.2", b"y")) == 2
    timed.clock = NOON + 1499
    reply = timed.step("a", 5)
    assert (reply.claims, reply.next_due) == ([], NOON + 1500)
    timed.clock = NOON + 1500
    assert timed.claim("a", 5) == [b"x", b"y"]


@pytest.mark.parametrize("delay", [0, 1000])
def test_two_tasks_may_have_one_id_and_one_payload(timed: Driver, delay: int) -> None:
    assert schedule(timed, delay, ("twin", b"x"), ("twin", b"x"), ("twin", b"x")) == 3
    timed.clock = NOON + delay
    frames = [frame for _, frame in timed.step("a", 5).claims]
    assert sorted(frames) == [b"twin 1 0\nx", b"twin.1 1 0\nx", b"twin.2 1 0\nx"]


def test_a_long_id_of_twins_stays_one_that_can_be_read(timed: Driver) -> None:
    schedule(timed, 0, *[("i" * 500, b"x")] * 3)
    ids = [frame.partition(b" ")[0] for frame in timed.scheduled()]
    assert sorted(map(len, ids)) == [482, 482, 500]


def test_those_that_are_due_at_once_ring(driver: Driver) -> None:
    schedule(driver, 5000, ("c.1", b"x"))
    assert driver.do("LLEN", driver.keys.queue) == 0
    schedule(driver, 0, ("c.2", b"y"))
    assert driver.do("LRANGE", driver.keys.queue, 0, -1) == [b""]


def test_ten_years_are_kept_to_the_millisecond(timed: Driver) -> None:
    years = 10 * 365 * 86_400_000
    schedule(timed, years, ("c.1", b"x"))
    assert list(timed.scheduled().values()) == [NOON + years]


@pytest.mark.parametrize("name", ["scheduled", "deferred", "queue"])
def test_a_key_of_a_wrong_type_fails_with_nothing_done(driver: Driver, name: str) -> None:
    driver.client.set(getattr(driver.keys, name), "not yours")
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        driver.call(commands.schedule(driver.keys, 0, 0, [("c.1", b"x")]))
    assert driver.client.type(driver.keys.scheduled) in {b"none", b"string"}
