"""One step: what ended goes, and what was not held does nothing."""

from multiworker.worker.commands import Settle
from multiworker.worker.errors import Reason
from tests.broker.driver import NOON, Driver, read_frame


def payloads(prefix: str, count: int) -> list[bytes]:
    return [f"{prefix}{n}".encode() for n in range(count)]


def test_a_thousand_can_be_settled_at_once(driver: Driver) -> None:
    driver.push(*payloads("x", 1000))
    claims = driver.step("a", 1000).claims
    settles = [Settle(delivery, "retry", 60_000, "") for delivery, _ in claims[:500]]
    settles += [Settle(delivery, "dead", Reason.REJECTED, "") for delivery, _ in claims[500:]]
    reply = driver.step("a", 0, settles=settles)
    assert reply.missing == []
    assert (len(driver.scheduled()), len(driver.letters()), driver.held("a")) == (500, 500, {})


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


def test_counters_tell_what_this_worker_did(driver: Driver) -> None:
    driver.push(*payloads("x", 6), b"y" * 2000)
    claims = [delivery for delivery, _ in driver.step("a", 10, largest=1000).claims]
    settles = [Settle(claims[3], "retry", 0, ""), Settle(claims[4], "dead", Reason.REJECTED, "")]
    driver.step("a", 0, acks=claims[:3], settles=settles)
    content = driver.inflight_hashes()["a"]
    counters = {name: int(content[name]) for name in (b"claimed", b"done", b"retried", b"dead")}
    assert counters == {b"claimed": 7, b"done": 3, b"retried": 1, b"dead": 2}
