"""Whether anything is left to do, anywhere."""

import pytest

from multiworker.worker.commands import Settle
from tests.broker.driver import Driver


def test_a_new_queue_is_drained(driver: Driver) -> None:
    assert driver.drained()


def test_what_waits_or_runs_or_is_put_off_is_left(driver: Driver) -> None:
    driver.push(b"x")
    assert not driver.drained(), "it waits"
    driver.hand_off()
    assert not driver.drained(), "it was handed off"
    driver.claim("a")
    assert not driver.drained(), "it is in flight"
    driver.step("a", 0, settles=[Settle("1.1", "retry", 3_600_000, "")])
    assert not driver.drained(), "it is scheduled"


@pytest.mark.parametrize("place", ["priority", "deferred", "suspects"])
def test_what_has_a_priority_or_is_a_suspect_is_left(driver: Driver, place: str) -> None:
    key = getattr(driver.keys, place)
    if place != "suspects":
        driver.client.zadd(key, {b"t.1 1 0\nx": 5})
    else:
        driver.client.lpush(key, b"t.1 1 2\nx")
    assert not driver.drained()


def test_dead_letters_are_not_left(driver: Driver) -> None:
    driver.push(b"x" * 2000)
    driver.step("a", 1, largest=1000)
    assert len(driver.letters()) == 1
    assert driver.drained()


def test_what_another_worker_holds_is_left_even_after_its_lease(driver: Driver) -> None:
    driver.push(b"x")
    driver.claim("b")
    driver.client.zadd(driver.keys.workers, {"b": 1})
    assert not driver.drained()
    driver.recover("b")
    assert not driver.drained()


def test_a_bell_counts_until_somebody_has_looked(driver: Driver) -> None:
    driver.push(b"")
    assert not driver.drained()
    driver.step("a", 1)
    assert driver.drained()
