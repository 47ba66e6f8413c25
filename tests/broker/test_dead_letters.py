"""Dead letters: what is too large never travels, and the stream is capped by count and bytes."""

import hashlib
import random

import pytest
import redis

from multiworker.worker.commands import Settle
from multiworker.worker.errors import Reason
from tests.broker.conftest import with_workers
from tests.broker.driver import HEAD, WHOLE, Driver, Edit, read_frame

CAPS = "local DEAD_MOST, DEAD_MOST_BYTES = 100000, 268435456"
WEEK = 7 * 86_400


def capped(client: redis.Redis, letters: int, size: int) -> Driver:
    """A queue whose dead letters have small caps."""
    return with_workers(Driver(client, edits=[Edit(CAPS, f"local DEAD_MOST, DEAD_MOST_BYTES = {letters}, {size}")]))


def bury(driver: Driver, *payloads: bytes) -> None:
    """Have tasks rejected, one after the other."""
    for payload in payloads:
        driver.push(payload)
        ((delivery, _),) = driver.step("a", 1, largest=WHOLE).claims
        driver.step("a", 0, settles=[Settle(delivery, "dead", Reason.REJECTED, "")])


def kept(driver: Driver) -> list[bytes]:
    return [letter[b"payload"] for letter in driver.letters()]


@pytest.mark.parametrize(("size", "travels"), [(999, True), (1000, True), (1001, False)])
def test_a_payload_up_to_the_limit_travels(driver: Driver, size: int, *, travels: bool) -> None:
    driver.push(b"x" * size)
    reply = driver.step("a", 1, largest=1000)
    assert (len(reply.claims), reply.buried) == ((1, 0) if travels else (0, 1))


@pytest.mark.parametrize("size", [2000, WHOLE])
def test_what_is_too_large_is_buried_whole_without_being_delivered(driver: Driver, size: int) -> None:
    payload = bytes(range(256)) * (size // 256)
    driver.push(b"first", payload, b"last")
    reply = driver.step("a", 10, largest=1000)
    assert [read_frame(frame).payload for _, frame in reply.claims] == [b"first", b"last"]
    assert (reply.buried, reply.more) == (1, False)
    (letter,) = driver.letters()
    assert (letter[b"reason"], letter[b"size"], letter[b"worker"]) == (b"too large", b"%d" % len(payload), b"a")
    assert (letter[b"payload"], letter[b"sha256"]) == (payload, b"")
    assert letter[b"detail"] == b"%d bytes" % len(payload)


def test_what_is_buried_counts_as_claimed_so_that_a_quota_is_exact(driver: Driver) -> None:
    driver.push(*[b"x" * 2000 for _ in range(50)], b"y")
    assert sum(driver.step("a", want, largest=1000).buried for want in (1, 2, 3)) == 6
    reply = driver.step("a", 30, largest=1000)
    assert (reply.buried, reply.claims, reply.more) == (30, [], True)
    reply = driver.step("a", 30, largest=1000)
    assert (reply.buried, len(reply.claims), reply.more) == (14, 1, False)


def test_oversized_elements_of_the_hand_off_are_buried_too(driver: Driver) -> None:
    driver.push(b"x" * 2000, b"y")
    driver.hand_off()
    assert driver.claim("a", 5, largest=1000) == [b"y"]
    assert len(driver.letters()) == 1


def laid_aside(driver: Driver) -> tuple[bytes, bytes]:
    """Claim one element of more than a mebibyte; returns it and its frame."""
    payload = random.Random(7).randbytes(WHOLE + 1)
    driver.push(payload)
    ((_, frame),) = driver.step("a", 1).claims
    return payload, frame


def test_more_than_a_mebibyte_is_laid_aside_and_only_its_head_travels(driver: Driver) -> None:
    payload, frame = laid_aside(driver)
    assert frame == b"a.1.1 1 0 %d\n" % len(payload) + payload[:HEAD]
    key = driver.keys.oversized("a.1.1")
    assert driver.client.get(key) == payload
    assert WEEK - 60 < driver.do("TTL", key) <= WEEK


def test_its_dead_letter_has_head_size_and_hash_and_the_rest_is_gone(driver: Driver) -> None:
    payload, _ = laid_aside(driver)
    digest = hashlib.sha256(payload).hexdigest()
    driver.step("a", 0, settles=[Settle("1.1", "dead", Reason.TOO_LARGE, digest)])
    (letter,) = driver.letters()
    assert (letter[b"payload"], letter[b"size"]) == (payload[:HEAD], b"%d" % len(payload))
    assert (letter[b"sha256"], letter[b"detail"]) == (digest.encode(), b"")
    assert driver.client.exists(driver.keys.oversized("a.1.1")) == 0


def test_it_survives_the_death_of_the_worker_that_was_to_hash_it(driver: Driver) -> None:
    payload, frame = laid_aside(driver)
    driver.recover("a")
    ((delivery, again),) = driver.step("b", 1).claims
    assert again == frame.replace(b" 1 0 ", b" 1 1 ")
    assert driver.client.get(driver.keys.oversized("a.1.1")) == payload
    driver.step("b", 0, settles=[Settle(delivery, "retry", 0, "")])
    ((_, again),) = driver.step("b", 1).claims
    assert again == frame.replace(b" 1 0 ", b" 2 1 ")


def test_one_that_kills_every_worker_leaves_nothing_behind(driver: Driver) -> None:
    payload, _ = laid_aside(driver)
    driver.recover("a")
    for worker in ("c", "d", "e", "f"):
        driver.register(worker)
        driver.claim(worker)  # a worker that has settled nothing takes no suspect at first sight
        assert driver.claim(worker) == [payload[:HEAD]] or driver.held(worker)
        driver.recover(worker)
    (letter,) = driver.letters()
    assert (letter[b"reason"], letter[b"payload"]) == (b"crashed", payload[:HEAD])
    assert (letter[b"size"], letter[b"sha256"]) == (b"%d" % len(payload), b"")
    assert driver.client.exists(driver.keys.oversized("a.1.1")) == 0


def test_with_a_high_limit_large_payloads_travel_as_others_do(driver: Driver) -> None:
    payload = b"x" * (2 * WHOLE)
    driver.push(payload, b"y")
    reply = driver.step("a", 5, largest=4 * WHOLE)
    assert reply.claims[0] == ("1.1", b"a.1.1 1 0\n" + payload)
    driver.step("a", 0, acks=["1.1", "1.2"])


def test_no_more_letters_are_kept_than_the_cap(redis_client: redis.Redis) -> None:
    driver = capped(redis_client, 5, 10**9)
    bury(driver, *[b"%d" % n for n in range(12)])
    assert kept(driver) == [b"7", b"8", b"9", b"10", b"11"]
    assert driver.client.hget(driver.keys.counters, "dead_dropped") == b"7"


def test_one_large_letter_costs_as_many_small_ones_as_it_takes(redis_client: redis.Redis) -> None:
    driver = capped(redis_client, 10**6, 20_000)
    bury(driver, *[b"%d" % n for n in range(200)])
    assert len(kept(driver)) == 200
    bury(driver, b"x" * 19_000)
    assert kept(driver)[-1] == b"x" * 19_000
    assert int(driver.do("HGET", driver.keys.counters, "dead_bytes")) <= 20_000


def test_the_newest_letter_is_kept_whatever_it_weighs(redis_client: redis.Redis) -> None:
    driver = capped(redis_client, 10, 5000)
    bury(driver, b"a", b"b", b"x" * 9000)
    assert kept(driver) == [b"x" * 9000]
    bury(driver, b"c")
    assert kept(driver) == [b"c"]


def test_a_crash_and_an_oversized_element_are_capped_too(redis_client: redis.Redis) -> None:
    driver = capped(redis_client, 3, 10**9)
    bury(driver, b"a", b"b", b"c")
    driver.push(b"x" * 2000)
    driver.step("a", 1, largest=1000)
    assert kept(driver) == [b"b", b"c", b"x" * 2000]
    driver.client.lpush(driver.keys.suspects, b"t.1 1 4\npoison")
    driver.pushed[b"poison"] += 1
    assert driver.claim("b") == [b"poison"]
    driver.recover("b")
    assert kept(driver) == [b"c", b"x" * 2000, b"poison"]


def test_books_that_somebody_spoiled_mend_themselves(redis_client: redis.Redis) -> None:
    driver = capped(redis_client, 100, 50_000)
    bury(driver, *[b"x" * 4000 for _ in range(9)])
    driver.client.delete(driver.keys.dead)
    driver.pushed.clear()
    driver.spoiled_books = True
    bury(driver, b"y" * 4000)
    driver.spoiled_books = False
    bury(driver, *[b"y" * 4000 for _ in range(8)])
    assert len(kept(driver)) == 9


def test_a_sum_that_is_no_number_buries_nothing_twice(redis_client: redis.Redis) -> None:
    driver = capped(redis_client, 100, 50_000)
    bury(driver, b"a")
    driver.spoiled_books = True
    driver.client.hset(driver.keys.counters, "dead_bytes", "spoiled")
    bury(driver, b"b")
    assert kept(driver) == [b"a", b"b"]
    assert driver.held("a") == {}


def test_after_any_sequence_the_caps_hold_and_the_books_are_right(redis_client: redis.Redis) -> None:
    driver = capped(redis_client, 8, 10_000)
    chance = random.Random(3)
    for _ in range(100):
        bury(driver, b"x" * chance.choice([0, 1, 100, 1000, 3000, 9000]) + b"y")
        letters = kept(driver)
        weight = int(driver.do("HGET", driver.keys.counters, "dead_bytes"))
        assert len(letters) <= 8
        assert weight <= 10_000 or len(letters) == 1
