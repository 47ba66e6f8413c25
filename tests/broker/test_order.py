"""One step: priorities, due tasks and the list share a claim, and what is left over rings."""

import pytest

from multiworker.worker.commands import Settle
from tests.broker.driver import NOON, Driver


def payloads(prefix: str, count: int) -> list[bytes]:
    return [f"{prefix}{n}".encode() for n in range(count)]


def make_due(driver: Driver, count: int) -> None:
    """Have so many tasks, r0 and on, fail once and be due again."""
    driver.push(*payloads("r", count))
    claims = driver.step("a", 1000).claims
    driver.step("a", 0, settles=[Settle(delivery, "retry", 0, "") for delivery, _ in claims])


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
