"""After an error: what a worker holds without knowing, and what it knows without holding."""

import pytest
import redis

from multiworker.worker import commands
from multiworker.worker.commands import Settle
from multiworker.worker.errors import Fenced, Stale
from tests.broker.driver import LEASE_MS, NOON, Driver


def test_a_claim_whose_reply_was_lost_is_found(driver: Driver) -> None:
    driver.push(b"x\n\xff", b"y")
    claims = driver.step("a", 2).claims
    assert driver.reconcile("a") == (set(), claims)


def test_known_deliveries_are_not_given_again(driver: Driver) -> None:
    driver.push(b"x", b"y", b"z")
    first, second, third = driver.step("a", 3).claims
    assert driver.reconcile("a", [first[0], third[0]]) == (set(), [second])
    assert driver.reconcile("a", [first[0], second[0], third[0]]) == (set(), [])


def test_what_is_no_longer_held_is_told(driver: Driver) -> None:
    driver.push(b"x", b"y", b"z")
    driver.step("a", 3)
    driver.step("a", 0, acks=["1.1"], settles=[Settle("1.2", "retry", 0, "")])
    gone, unknown = driver.reconcile("a", ["1.1", "1.2", "1.3", "9.9"])
    assert (gone, unknown) == ({"1.1", "1.2", "9.9"}, [])


def test_the_books_in_the_hash_are_no_deliveries(driver: Driver) -> None:
    assert driver.reconcile("a") == (set(), [])
    gone, unknown = driver.reconcile("a", ["no", "claimed"])
    assert (gone, unknown) == (set(), [])


def test_a_thousand_are_reconciled_at_once(driver: Driver) -> None:
    driver.push(*[b"%d" % n for n in range(1000)])
    claims = driver.step("a", 1000).claims
    gone, unknown = driver.reconcile("a", [delivery for delivery, _ in claims[:500]])
    assert gone == set()
    assert sorted(unknown) == sorted(claims[500:])
    gone, unknown = driver.reconcile("a", [f"0.{n}" for n in range(1000)] + [delivery for delivery, _ in claims])
    assert (len(gone), unknown) == (1000, [])


def test_it_renews_the_lease_and_takes_a_number(timed: Driver) -> None:
    timed.clock = NOON + 10_000
    timed.reconcile("a", no=7)
    assert timed.client.zscore(timed.keys.workers, "a") == NOON + 10_000 + LEASE_MS
    with pytest.raises(Stale):
        timed.step("a", 1, no=7)


def test_a_step_that_arrives_after_its_reconcile_does_nothing(driver: Driver) -> None:
    driver.push(b"x")
    driver.reconcile("a", no=2)
    with pytest.raises(Stale):
        driver.step("a", 1, no=1)
    assert driver.waiting() == [b"x"]


@pytest.mark.parametrize("no", [3, 2, 0])
def test_a_number_that_is_not_new_does_nothing(driver: Driver, no: int) -> None:
    driver.step("a", 0, no=3)
    with pytest.raises(Stale):
        driver.reconcile("a", no=no)


def test_an_unknown_worker_is_fenced(driver: Driver) -> None:
    driver.recover("a", "left")
    with pytest.raises(Fenced):
        driver.reconcile("a")
    assert driver.client.exists(driver.keys.inflight("a")) == 0
    assert "a" not in driver.workers()


def test_workers_of_a_wrong_type_fail_with_nothing_done(driver: Driver) -> None:
    driver.client.delete(driver.keys.workers)
    driver.client.set(driver.keys.workers, "not yours")
    before = driver.client.hgetall(driver.keys.inflight("a"))
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        driver.call(commands.reconcile(driver.keys, "a", 5, LEASE_MS, []))
    assert driver.client.hgetall(driver.keys.inflight("a")) == before
