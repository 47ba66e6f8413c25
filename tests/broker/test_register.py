"""A worker becomes known once, under an id of its own."""

from tests.broker.driver import LEASE_MS, NOON, Driver


def test_a_new_worker_has_an_empty_hash_and_a_lease(timed: Driver) -> None:
    assert timed.register("new", 1000)
    assert timed.client.hgetall(timed.keys.inflight("new")) == {
        b"no": b"0",
        b"claimed": b"0",
        b"done": b"0",
        b"retried": b"0",
        b"dead": b"0",
    }
    assert timed.client.zscore(timed.keys.workers, "new") == NOON + 1000


def test_an_id_is_good_for_one_life(driver: Driver) -> None:
    driver.push(b"x")
    assert driver.claim("a") == [b"x"]
    assert not driver.register("a")
    assert list(driver.held("a").values()) == [b"a.1.1 1 0\nx"]


def test_an_id_that_only_has_a_lease_is_taken(driver: Driver) -> None:
    driver.client.delete(driver.keys.inflight("a"))
    assert not driver.register("a")
    assert driver.client.exists(driver.keys.inflight("a")) == 0


def test_an_id_that_only_has_a_hash_is_taken(driver: Driver) -> None:
    driver.client.zrem(driver.keys.workers, "a")
    assert not driver.register("a")
    assert driver.client.zscore(driver.keys.workers, "a") is None


def test_a_recovered_id_may_be_used_again_by_the_letter(driver: Driver) -> None:
    driver.recover("a", "left")
    assert driver.register("a", LEASE_MS)
