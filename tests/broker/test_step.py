"""One step: what ended goes, what is claimed comes, in the right order, and nothing else happens."""

import pytest
import redis

from multiworker.worker import commands
from multiworker.worker.commands import Settle
from multiworker.worker.errors import Fenced, Reason, Stale
from tests.broker.driver import LEASE_MS, NOON, Driver, read_frame


def payloads(prefix: str, count: int) -> list[bytes]:
    return [f"{prefix}{n}".encode() for n in range(count)]


def make_due(driver: Driver, count: int) -> None:
    """Have so many tasks, r0 and on, fail once and be due again."""
    driver.push(*payloads("r", count))
    claims = driver.step("a", 1000).claims
    driver.step("a", 0, settles=[Settle(delivery, "retry", 0, "") for delivery, _ in claims])


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


def test_a_thousand_can_be_settled_at_once(driver: Driver) -> None:
    driver.push(*payloads("x", 1000))
    claims = driver.step("a", 1000).claims
    settles = [Settle(delivery, "retry", 60_000, "") for delivery, _ in claims[:500]]
    settles += [Settle(delivery, "dead", Reason.REJECTED, "") for delivery, _ in claims[500:]]
    reply = driver.step("a", 0, settles=settles)
    assert reply.missing == []
    assert (len(driver.scheduled()), len(driver.letters()), driver.held("a")) == (500, 500, {})


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


def test_an_acknowledged_delivery_is_gone(driver: Driver) -> None:
    driver.push(b"x", b"y")
    driver.step("a", 2)
    reply = driver.step("a", 0, acks=["1.1"])
    assert reply.acknowledged == 1
    assert list(driver.held("a")) == ["1.2"]


def test_acknowledging_what_is_not_held_does_nothing(driver: Driver) -> None:
    driver.push(b"x", b"y")
    driver.step("a", 1)
    driver.step("b", 1)
    reply = driver.step("a", 0, acks=["1.2", "9.9", "", "1.1"])
    assert reply.acknowledged == 1
    assert list(driver.held("b")) == ["1.1"], "another worker's delivery of the same name is another one"


def test_settling_what_is_not_held_does_nothing_and_is_told(driver: Driver) -> None:
    driver.push(b"x")
    driver.step("a", 1)
    settles = [Settle("9.1", "retry", 0, ""), Settle("1.1", "retry", 0, ""), Settle("9.2", "dead", Reason.REJECTED, "")]
    reply = driver.step("a", 0, settles=settles)
    assert reply.missing == ["9.1", "9.2"]
    assert len(driver.scheduled()) == 1
    assert driver.letters() == []


def test_a_delivery_cannot_be_settled_twice(driver: Driver) -> None:
    driver.push(b"x")
    driver.step("a", 1)
    reply = driver.step("a", 0, settles=[Settle("1.1", "retry", 0, ""), Settle("1.1", "dead", Reason.REJECTED, "")])
    assert reply.missing == ["1.1"]
    assert driver.letters() == []


def test_a_retry_waits_for_its_time_and_counts_the_attempt(timed: Driver) -> None:
    timed.push(b"x\n\xff")
    timed.step("a", 1)
    reply = timed.step("a", 5, settles=[Settle("1.1", "retry", 1500, "")])
    assert (reply.claims, reply.next_due, reply.now) == ([], NOON + 1500, NOON)
    assert timed.scheduled() == {b"a.1.1 2 0\nx\n\xff": NOON + 1500}

    timed.clock = NOON + 1499
    assert timed.step("b", 5).claims == []
    timed.clock = NOON + 1500
    reply = timed.step("b", 5)
    assert reply.claims == [("2.1", b"a.1.1 2 0\nx\n\xff")]
    assert reply.next_due == -1


def test_a_retry_that_is_due_at_once_may_be_taken_by_the_same_step(driver: Driver) -> None:
    driver.push(b"x")
    driver.step("a", 1)
    driver.step("a", 0, settles=[Settle("1.1", "retry", 0, "")])
    assert driver.step("a", 1).claims == [("3.1", b"a.1.1 2 0\nx")]


def test_the_tasks_id_is_kept_for_life_and_the_deliverys_is_not(driver: Driver) -> None:
    driver.push(b"x")
    seen = []
    for worker in ("a", "b", "a"):
        ((delivery, frame),) = driver.step(worker, 1).claims
        driver.step(worker, 0, settles=[Settle(delivery, "retry", 0, "")])
        seen.append((delivery, read_frame(frame).id, read_frame(frame).attempt))
    assert seen == [("1.1", b"a.1.1", 1), ("1.1", b"a.1.1", 2), ("3.1", b"a.1.1", 3)]


def test_a_dead_letter_says_everything_and_keeps_the_payload(driver: Driver) -> None:
    driver.push(b"\x00raw\n")
    driver.step("a", 1)
    driver.step("a", 0, settles=[Settle("1.1", "retry", 0, "")])
    driver.step("b", 1)
    driver.step("b", 0, settles=[Settle("1.1", "dead", Reason.EXHAUSTED, "Traceback\n  x")])
    assert driver.letters() == [
        {
            b"id": b"a.1.1",
            b"attempt": b"2",
            b"crashes": b"0",
            b"reason": b"attempts exhausted",
            b"detail": b"Traceback\n  x",
            b"worker": b"b",
            b"size": b"5",
            b"sha256": b"",
            b"payload": b"\x00raw\n",
        }
    ]


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


WRONG = ["queue", "handoff", "scheduled", "priority", "suspects", "dead", "counters", "workers"]


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


def priority(driver: Driver, name: str, order: int) -> bytes:
    """Put a task with a priority into the queue, as the client would."""
    payload = f"{name}{order}".encode()
    driver.client.zadd(driver.keys.priority, {b"client.%s 1 0\n" % payload + payload: order})
    driver.pushed[payload] += 1
    return payload


def test_negative_priorities_go_before_the_list_and_positive_ones_after_it(driver: Driver) -> None:
    late, early, urgent = priority(driver, "p", 5), priority(driver, "p", 3), priority(driver, "p", -5)
    most_urgent = priority(driver, "p", -9)
    driver.push(b"x", b"y")
    driver.hand_off()
    assert driver.claim("a", 10) == [most_urgent, urgent, b"x", b"y", early, late]


def test_a_priority_never_waits_for_a_whole_claim(driver: Driver) -> None:
    driver.push(*payloads("x", 5))
    claims = [driver.claim("a", 1)]
    urgent = priority(driver, "p", -1)
    claims += [driver.claim("a", 1), driver.claim("a", 1)]
    assert claims == [[b"x0"], [urgent], [b"x1"]]


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


def test_due_tasks_and_the_list_share_a_claim(driver: Driver) -> None:
    make_due(driver, 40)
    driver.push(*payloads("x", 40))
    claimed = driver.claim("b", 10)
    assert sorted(payload[:1] for payload in claimed) == [b"r"] * 5 + [b"x"] * 5
    rest = []
    for _ in range(10):
        rest += driver.claim("b", 1)
    assert sorted(payload[:1] for payload in rest) == [b"r"] * 5 + [b"x"] * 5


@pytest.mark.parametrize(("due", "listed"), [(40, 3), (3, 40), (40, 0), (0, 40), (5, 5)])
def test_either_may_have_the_room_that_the_other_leaves(driver: Driver, due: int, listed: int) -> None:
    make_due(driver, due)
    driver.push(*payloads("x", listed))
    claimed = driver.claim("b", 20)
    assert len(claimed) == min(20, due + listed)
    assert sum(payload.startswith(b"r") for payload in claimed) == min(due, max(10, 20 - listed))


def test_bells_do_not_keep_due_tasks_from_being_taken(driver: Driver) -> None:
    make_due(driver, 10)
    driver.push(*[b""] * 30)
    claimed = driver.claim("b", 10) + driver.claim("b", 10)
    assert len(claimed) == 10


def test_what_is_left_over_rings_for_the_next_worker(driver: Driver) -> None:
    make_due(driver, 10)
    assert driver.do("LLEN", driver.keys.queue) == 0
    assert driver.step("b", 4).more
    assert driver.do("LRANGE", driver.keys.queue, 0, -1) == [b""]
    driver.step("b", 10)
    assert driver.do("LRANGE", driver.keys.queue, 0, -1) == []


@pytest.mark.parametrize("place", ["hand-off", "priority", "nowhere"])
def test_so_is_what_is_left_in_the_hand_off_or_has_a_priority(driver: Driver, place: str) -> None:
    driver.push(b"x")
    driver.hand_off()
    if place == "hand-off":
        driver.push(b"y")
        driver.hand_off()
    elif place == "priority":
        priority(driver, "p", -1)
        priority(driver, "p", -2)
    assert len(driver.claim("a", 1)) == 1
    assert driver.do("LRANGE", driver.keys.queue, 0, -1) == ([] if place == "nowhere" else [b""])


def test_the_next_due_time_is_told_when_there_is_nothing_else(timed: Driver) -> None:
    assert timed.step("a", 5).next_due == -1
    timed.client.zadd(timed.keys.scheduled, {b"t.1 1 0\nx": NOON + 500, b"t.2 1 0\ny": NOON + 300})
    timed.pushed.update([b"x", b"y"])
    assert timed.step("a", 5).next_due == NOON + 300
    timed.clock = NOON + 300
    reply = timed.step("a", 5)
    assert (len(reply.claims), reply.next_due) == (1, NOON + 500)


def test_counters_tell_what_this_worker_did(driver: Driver) -> None:
    driver.push(*payloads("x", 6), b"y" * 2000)
    claims = [delivery for delivery, _ in driver.step("a", 10, largest=1000).claims]
    settles = [Settle(claims[3], "retry", 0, ""), Settle(claims[4], "dead", Reason.REJECTED, "")]
    driver.step("a", 0, acks=claims[:3], settles=settles)
    content = driver.inflight_hashes()["a"]
    counters = {name: int(content[name]) for name in (b"claimed", b"done", b"retried", b"dead")}
    assert counters == {b"claimed": 7, b"done": 3, b"retried": 1, b"dead": 2}
