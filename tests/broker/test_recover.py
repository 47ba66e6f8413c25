"""What a gone worker held runs again; and nobody is taken for gone who is not."""

from typing import Literal

import pytest

from multiworker.worker.answers import Recovered
from multiworker.worker.commands import OUTAGE_MS, Settle
from multiworker.worker.errors import Fenced, Reason
from tests.broker.driver import LEASE_MS, NOON, Driver


def tick(driver: Driver, until: int) -> None:
    """Do upkeep as often as a living worker does, from now until then."""
    assert driver.clock is not None
    while driver.clock < until:
        driver.clock = min(driver.clock + 5000, until)
        driver.upkeep()


@pytest.mark.parametrize("why", ["dead", "left"])
def test_everything_is_given_back_at_once_and_the_worker_forgotten(timed: Driver, why: Literal["dead", "left"]) -> None:
    timed.push(*[b"%d" % n for n in range(50)])
    timed.step("a", 20)
    timed.step("a", 0, acks=["1.1", "1.2"], settles=[Settle("1.3", "dead", Reason.REJECTED, "")])
    recovered = timed.recover("a", why)
    assert recovered == Recovered(given_back=17, buried=0, claimed=20, done=2, retried=0, dead=1)
    assert set(timed.scheduled().values()) == {NOON}
    assert timed.workers() == ["b"]
    assert timed.client.exists(timed.keys.inflight("a")) == 0


def test_deaths_count_and_departures_do_not(driver: Driver) -> None:
    driver.push(b"x")
    driver.claim("a")
    driver.recover("a", "left")
    assert list(driver.scheduled()) == [b"a.1.1 1 0\nx"]
    driver.claim("b")
    driver.recover("b", "dead")
    assert list(driver.scheduled()) == [b"a.1.1 1 1\nx"]


def test_a_worker_that_held_nothing_leaves_its_books(driver: Driver) -> None:
    driver.push(b"x")
    driver.claim("a")
    driver.step("a", 0, acks=["1.1"])
    assert driver.recover("a") == Recovered(given_back=0, buried=0, claimed=1, done=1, retried=0, dead=0)


def test_only_the_first_of_several_recovers_finds_anything(driver: Driver) -> None:
    driver.push(b"x", b"y")
    driver.claim("a", 2)
    assert driver.recover("a")
    assert driver.recover("a", "dead") is None
    assert driver.recover("a", "left") is None
    assert driver.recover("a", "expired") is None
    assert len(driver.scheduled()) == 2


def test_a_worker_that_was_given_up_is_fenced(driver: Driver) -> None:
    driver.push(b"x")
    driver.claim("a")
    driver.recover("a")
    with pytest.raises(Fenced):
        driver.step("a", 0, acks=["1.1"])
    assert driver.claim("b") == [b"x"]


def test_an_idle_sibling_is_woken_by_a_bell(driver: Driver) -> None:
    driver.push(b"x")
    driver.claim("a")
    driver.recover("a")
    assert driver.do("LRANGE", driver.keys.queue, 0, -1) == [b""]


def test_no_bell_is_rung_where_there_is_something_to_wake_for_or_nothing_at_all(driver: Driver) -> None:
    driver.push(b"x", b"y")
    driver.claim("a")
    driver.recover("a")
    assert driver.do("LRANGE", driver.keys.queue, 0, -1) == [b"y"]
    driver.client.delete(driver.keys.queue)
    driver.pushed[b"y"] -= 1
    driver.recover("b")
    assert driver.do("LRANGE", driver.keys.queue, 0, -1) == []


def test_a_worker_whose_lease_ran_out_is_given_up(timed: Driver) -> None:
    timed.push(b"x")
    timed.claim("a")
    timed.upkeep()
    tick(timed, NOON + LEASE_MS)
    assert timed.recover("a", "expired")
    assert list(timed.scheduled()) == [b"a.1.1 1 1\nx"]


def test_a_worker_with_a_lease_is_not(timed: Driver) -> None:
    timed.upkeep()
    tick(timed, NOON + LEASE_MS - 1)
    assert timed.recover("a", "expired") is None
    assert "a" in timed.workers()


def test_a_lease_that_was_renewed_after_the_decision_is_good(timed: Driver) -> None:
    timed.upkeep()
    tick(timed, NOON + LEASE_MS)
    assert timed.upkeep() == ["a", "b"]
    timed.step("a")
    assert timed.recover("a", "expired") is None
    assert timed.recover("b", "expired")


def test_nobody_is_given_up_when_redis_was_away(timed: Driver) -> None:
    timed.upkeep()
    tick(timed, NOON + LEASE_MS)  # the grace that the first upkeep starts
    timed.step("a")
    timed.step("b")
    timed.clock = back = NOON + 2 * LEASE_MS + OUTAGE_MS
    assert timed.recover("a", "expired") is None, "nobody has looked for long"
    assert timed.upkeep() == []
    assert timed.recover("a", "expired") is None, "a grace runs"
    tick(timed, back + LEASE_MS - 1)
    assert timed.recover("a", "expired") is None, "still"
    tick(timed, back + LEASE_MS)
    assert timed.recover("a", "expired")


def test_without_any_upkeep_no_lease_is_judged(timed: Driver) -> None:
    timed.clock = NOON + 100 * LEASE_MS
    assert timed.recover("a", "expired") is None


def test_proof_of_death_needs_no_lease_and_no_upkeep(timed: Driver) -> None:
    timed.push(b"x")
    timed.claim("a")
    assert timed.recover("a", "dead")


def test_a_retry_and_a_crash_are_counted_apart(driver: Driver) -> None:
    driver.push(b"x")
    driver.claim("a")
    driver.step("a", 0, settles=[Settle("1.1", "retry", 0, "")])
    driver.claim("a")
    driver.recover("a")
    assert list(driver.scheduled()) == [b"a.1.1 2 1\nx"]


def test_a_hash_that_lost_its_books_is_recovered_all_the_same(driver: Driver) -> None:
    driver.push(b"x")
    driver.claim("a")
    driver.client.hdel(driver.keys.inflight("a"), "claimed", "done", "dead")
    assert driver.recover("a") == Recovered(given_back=1, buried=0, claimed=0, done=0, retried=0, dead=0)


def test_a_thousand_are_given_back(driver: Driver) -> None:
    driver.push(*[b"%d" % n for n in range(1000)])
    driver.claim("a", 1000)
    recovered = driver.recover("a")
    assert recovered
    assert recovered.given_back == 1000


@pytest.mark.parametrize("header", ["t.1 1 1000000000000000", "t.1 1000000000000000 1", "t.1 1 0 1000000000000000"])
def test_a_forged_number_that_lua_cannot_write_does_not_keep_a_dead_worker(driver: Driver, header: str) -> None:
    """As 1e+15 it would be a header that nobody can read, and recover would fail for ever."""
    forged = header.encode() + b"\npay"
    driver.pushed[forged] += 1
    driver.client.zadd(driver.keys.scheduled, {forged: 1})
    driver.register("a")
    assert driver.claim("a") == [forged]
    assert driver.recover("a")
    assert driver.claim("b") == [forged]
