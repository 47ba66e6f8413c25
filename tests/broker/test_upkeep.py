"""Who looks dead, and when that proves nothing."""

import pytest

from multiworker.worker.commands import OUTAGE_MS
from tests.broker.driver import LEASE_MS, NOON, Driver


def settled(driver: Driver) -> int:
    """Have upkeep done regularly until the first grace is over; everybody's lease is good then. Returns the time."""
    for driver.clock in range(NOON, NOON + LEASE_MS + 5000, 5000):
        for worker in ("a", "b"):
            driver.step(worker)
        assert driver.upkeep() == []
    assert driver.clock is not None
    return driver.clock


def test_the_first_look_ever_starts_a_grace(timed: Driver) -> None:
    timed.clock = NOON + LEASE_MS + 1
    assert timed.upkeep() == []
    assert timed.client.zscore(timed.keys.workers, "*grace") == timed.clock + LEASE_MS


def test_workers_whose_lease_ran_out_are_named(timed: Driver) -> None:
    now = settled(timed)
    for timed.clock in range(now + 5000, now + LEASE_MS, 5000):
        timed.step("b")
        assert timed.upkeep() == []
    timed.clock = now + LEASE_MS
    timed.step("b")
    assert timed.upkeep() == ["a"]
    assert timed.upkeep() == ["a"], "until somebody gives back what it held"
    timed.recover("a", "expired")
    assert timed.upkeep() == []


def test_a_long_pause_starts_a_grace_of_one_lease(timed: Driver) -> None:
    now = settled(timed)
    timed.clock = back = now + LEASE_MS + OUTAGE_MS
    assert timed.upkeep() == []
    for timed.clock in range(back + 5000, back + LEASE_MS, 5000):
        assert timed.upkeep() == []
    timed.clock = back + LEASE_MS
    assert timed.upkeep() == ["a", "b"]


def test_a_short_pause_starts_none(timed: Driver) -> None:
    now = settled(timed)
    timed.clock = now + OUTAGE_MS
    timed.upkeep()
    timed.clock = now + 2 * OUTAGE_MS
    timed.upkeep()
    timed.clock = now + LEASE_MS
    assert timed.upkeep() == ["a", "b"]


@pytest.mark.parametrize("lease", [3_000, 9_000, LEASE_MS, 10 * LEASE_MS])
def test_an_outage_that_ends_all_leases_is_noticed_however_short_they_are(timed: Driver, lease: int) -> None:
    """Otherwise the first one to connect again declares dead whoever is still to."""
    beat = min(5000, lease // 9)
    for timed.clock in range(NOON, NOON + 2 * lease, beat):
        for worker in ("a", "b"):
            timed.step(worker, lease=lease)
        assert timed.upkeep(lease) == []
    timed.push(b"x")
    timed.step("b", 1, lease=lease)
    timed.clock = NOON + 3 * lease + beat
    assert timed.upkeep(lease) == []
    assert timed.recover("b", "expired", lease=lease) is None
    timed.step("b", 0, acks=list(timed.held("b")))


def test_a_clock_that_jumps_back_names_nobody(timed: Driver) -> None:
    now = settled(timed)
    timed.clock = now - 3_600_000
    assert timed.upkeep() == []


def test_a_clock_that_jumps_ahead_is_taken_for_an_outage(timed: Driver) -> None:
    now = settled(timed)
    timed.clock = now + 3_600_000
    assert timed.upkeep() == []


def test_marks_are_no_workers(timed: Driver) -> None:
    now = settled(timed)
    timed.client.zadd(timed.keys.workers, {"*alone": 1})
    for timed.clock in range(now + 5000, now + 3 * LEASE_MS, 5000):
        timed.upkeep()
    assert timed.upkeep() == ["a", "b"]


def test_many_are_named_a_hundred_at_a_time(timed: Driver) -> None:
    now = settled(timed)
    timed.client.zadd(timed.keys.workers, {f"w{n}": now for n in range(250)})
    assert 90 <= len(timed.upkeep()) <= 100
