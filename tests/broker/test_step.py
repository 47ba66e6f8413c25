"""One step: what ended goes, what is claimed comes, in the right order, and nothing else happens."""

import pytest
import redis

from multiworker.worker import commands
from multiworker.worker.commands import Settle
from multiworker.worker.errors import Fenced, Reason, Stale
from tests.broker.driver import LEASE_MS, NOON, Driver, read_frame


def payloads(prefix: str, count: int) -> list[bytes]:
    return [f"{prefix}{n}".encode() for n in range(count)]


def everything(driver: Driver) -> dict[bytes, bytes]:
    """A fingerprint of all that lies in Redis."""
    return {key: driver.do("DUMP", key) for key in driver.do("KEYS", "*")}


def test_elements_are_claimed_in_the_order_in_which_they_were_pushed(driver: Driver) -> None:
    pushed = payloads("x", 100)
    driver.push(*pushed)
    assert driver.claim("a", 1) + driver.claim("b", 30) + driver.claim("a", 1000) == pushed


def test_a_claim_is_a_delivery_id_and_a_frame_and_is_held_under_it(driver: Driver) -> None:
    driver.push(b"x", b"y")
    reply = driver.step("a", 2)
    assert reply.claims == [("1.1", b"a.1.1 1 0\nx"), ("1.2", b"a.1.2 1 0\ny")]
    assert driver.held("a") == dict(reply.claims)


def test_no_more_is_claimed_than_is_wanted(driver: Driver) -> None:
    driver.push(*payloads("x", 10))
    reply = driver.step("a", 3)
    assert (len(reply.claims), reply.more) == (3, True)
    reply = driver.step("a", 0)
    assert (len(reply.claims), reply.more) == (0, False)
    reply = driver.step("a", 100)
    assert (len(reply.claims), reply.more) == (7, False)


@pytest.mark.parametrize("want", [1, 2, 19, 20, 21, 999, 1000])
def test_every_number_from_one_to_a_thousand_can_be_claimed_and_acknowledged(driver: Driver, want: int) -> None:
    driver.push(*payloads("x", 1001))
    first = driver.step("a", want)
    assert [read_frame(frame).payload for _, frame in first.claims] == payloads("x", want)
    second = driver.step("a", 1, acks=[delivery for delivery, _ in first.claims])
    assert (second.acknowledged, len(second.claims)) == (want, 1)
    assert list(driver.held("a")) == [second.claims[0][0]]


def test_the_hand_off_is_the_head_of_the_queue(driver: Driver) -> None:
    driver.push(*payloads("x", 5))
    driver.hand_off()
    driver.hand_off()
    assert driver.claim("a", 1) == [b"x0"]
    driver.hand_off()
    assert driver.claim("a", 10) == payloads("x", 5)[1:]


def test_bells_are_dropped(driver: Driver) -> None:
    driver.push(b"", b"x", b"", b"", b"y", b"")
    for _ in range(2):
        driver.hand_off()
    assert driver.claim("a", 10) == [b"x", b"y"]
    assert driver.do("LLEN", driver.keys.queue) == driver.do("LLEN", driver.keys.handoff) == 0


def test_any_number_of_bells_costs_one_call_a_bounded_time(driver: Driver) -> None:
    driver.push(*[b""] * 5000, b"x")
    steps = 0
    while not driver.held("a"):
        reply = driver.step("a", 20)
        steps += 1
        assert reply.more or reply.claims
    assert 3 <= steps <= 5


def test_payloads_are_never_read_as_anything_else(driver: Driver) -> None:
    odd = [
        b"\n",
        b"x\ny\n",
        b"1 2 3\nz",
        b"a.1.1 1 0\nx",
        b"\x00\xff\xb5\"'",
        b" ",
        b"no",
        b"*",
        b"retry",
        b"%s%n",
        b"7",
    ]
    odd += [
        b"]] redis.call('FLUSHALL') --",
        b"\r\n*1\r\n$8\r\nFLUSHALL\r\n",
        b"(nil)",
        b"1.1",
        b"|,:",
        bytes(range(256)),
    ]
    driver.push(*odd)
    reply = driver.step("a", 100)
    assert [read_frame(frame).payload for _, frame in reply.claims] == odd
    driver.step("a", 0, settles=[Settle(delivery, "retry", 0, "") for delivery, _ in reply.claims])
    driver.recover("a", "left")
    reply = driver.step("b", 100)
    assert sorted(read_frame(frame).payload for _, frame in reply.claims) == sorted(odd)
    driver.step("b", 0, settles=[Settle(delivery, "dead", Reason.REJECTED, "\n\x00") for delivery, _ in reply.claims])
    assert sorted(letter[b"payload"] for letter in driver.letters()) == sorted(odd)


def test_identical_payloads_are_as_many_tasks_as_were_pushed(driver: Driver) -> None:
    driver.push(*[b"same"] * 300)
    first, second = driver.step("a", 100), driver.step("b", 100)
    driver.step("a", 0, settles=[Settle(delivery, "retry", 0, "") for delivery, _ in first.claims])
    driver.step("b", 0, acks=[delivery for delivery, _ in second.claims])
    assert len(driver.scheduled()) == 100
    assert driver.claim("b", 1000) == [b"same"] * 200


def test_the_lease_is_renewed_by_every_step(timed: Driver) -> None:
    timed.clock = NOON + 40_000
    timed.step("a", 0, lease=7000)
    assert timed.client.zscore(timed.keys.workers, "a") == NOON + 47_000
    assert timed.client.zscore(timed.keys.workers, "b") == NOON + LEASE_MS


def test_a_step_of_a_worker_whose_lease_ran_out_but_who_was_not_reaped_is_served(timed: Driver) -> None:
    timed.push(b"x")
    timed.clock = NOON + 10 * LEASE_MS
    assert timed.claim("a") == [b"x"]


@pytest.mark.parametrize("no", [5, 4, 1, 0, -1])
def test_a_number_that_is_not_new_does_nothing(driver: Driver, no: int) -> None:
    driver.push(*payloads("x", 5))
    driver.step("a", 2, no=5)
    before = everything(driver)
    with pytest.raises(Stale):
        driver.step("a", 2, no=no, acks=["5.1"], settles=[Settle("5.2", "dead", Reason.REJECTED, "")])
    assert everything(driver) == before


def test_numbers_may_have_gaps(driver: Driver) -> None:
    driver.push(b"x")
    driver.step("a", 0, no=1_000_000)
    assert driver.step("a", 1, no=2**40).claims == [(f"{2**40}.1", b"a.%d.1 1 0\nx" % 2**40)]


def test_an_unknown_worker_is_fenced_and_nothing_is_done(driver: Driver) -> None:
    driver.push(b"x", b"y")
    driver.step("a", 1)
    driver.recover("a", "left")
    before = everything(driver)
    with pytest.raises(Fenced):
        driver.step("a", 1, acks=["1.1"], settles=[Settle("1.1", "retry", 0, "")])
    assert everything(driver) == before


WRONG = ["queue", "handoff", "scheduled", "priority", "deferred", "suspects", "dead", "counters", "workers"]


@pytest.mark.parametrize("name", WRONG)
def test_a_key_of_a_wrong_type_fails_the_step_with_nothing_done(driver: Driver, name: str) -> None:
    driver.push(*payloads("x", 3))
    driver.step("a", 2)
    key = getattr(driver.keys, name)
    driver.client.delete(key)
    driver.client.set(key, "not yours")
    before = everything(driver)
    command = commands.step(
        driver.keys,
        "a",
        2,
        LEASE_MS,
        5,
        ["1.1"],
        [Settle("1.2", "dead", Reason.REJECTED, "")],
        largest=100,
        has_turn=False,
        others=0,
    )
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        driver.call(command)
    assert everything(driver) == before


def test_a_queue_of_a_wrong_type_fails_a_recover_with_nothing_done(driver: Driver) -> None:
    driver.push(*payloads("x", 3))
    driver.step("a", 2)
    for name in WRONG:
        key = getattr(driver.keys, name)
        saved = driver.client.dump(key)
        driver.client.delete(key)
        driver.client.set(key, "not yours")
        before = everything(driver)
        with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
            driver.call(commands.recover(driver.keys, "a", "dead", ""))
        assert everything(driver) == before
        driver.client.delete(key)
        if saved:
            driver.client.restore(key, 0, saved)
    assert driver.recover("a")


def test_a_claim_stays_within_its_bytes_but_one_task_always_fits(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "REPLY_BYTES", 3000)
    driver.push(*[bytes([n]) * 1000 for n in range(65, 72)], b"x" * 9000, b"y")
    reply = driver.step("a", 100)
    assert (len(reply.claims), reply.more) == (3, True)
    for expected in (3, 2, 1):
        reply = driver.step("b", 100)
        assert len(reply.claims) == expected
    assert not reply.more


def test_the_bytes_of_retries_count_too(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    driver.push(*[bytes([n]) * 1000 for n in range(65, 75)])
    claims = driver.step("a", 10).claims
    driver.step("a", 0, settles=[Settle(delivery, "retry", 0, "") for delivery, _ in claims])
    monkeypatch.setattr(commands, "REPLY_BYTES", 3000)
    reply = driver.step("a", 100)
    assert (len(reply.claims), reply.more) == (3, True)


def test_elements_that_somebody_else_put_into_our_sets_get_a_header(driver: Driver) -> None:
    foreign = [b"no header", b"", b"a b c\nd", b"x 1\n", b"\xff 1 0\nz"]
    driver.client.zadd(driver.keys.scheduled, dict.fromkeys(foreign, 0))
    driver.client.zadd(driver.keys.priority, {b"urgent": -1})
    driver.client.lpush(driver.keys.suspects, b"foreign suspect")
    driver.client.hincrby(driver.keys.inflight("a"), "done", 1)  # who has settled nothing takes no suspects
    driver.check = lambda: None  # type: ignore[method-assign]  # what was never pushed cannot be accounted for
    assert driver.claim("a", 10) == [b"foreign suspect"]
    claims = driver.step("b", 10).claims
    assert [read_frame(frame).payload for _, frame in claims] == [b"urgent", *sorted(foreign)]
    reply = driver.step("b", 0, settles=[Settle(delivery, "dead", Reason.NOT_JSON, "") for delivery, _ in claims])
    assert reply.missing == []
    assert driver.recover("a")
    assert driver.scheduled() == {b"a.1.1 1 1\nforeign suspect": pytest.approx(0, abs=2**53)}
