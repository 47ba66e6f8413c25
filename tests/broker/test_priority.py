"""Priorities are honoured exactly: higher first, in order within one, whatever happens to a task meanwhile."""

from typing import Literal

import pytest
import redis

from multiworker.worker import inquiries
from multiworker.worker.commands import Settle
from multiworker.worker.errors import Reason
from tests.broker.driver import NOON, Driver, Edit
from tests.broker.race import Race, send

PROMOTED = 1000
"""Deferred tasks that one step finds to be due, as in lua/step.lua."""
RACES = 25


def order(driver: Driver, worker: str = "b") -> list[str]:
    """Claim one task after the other until nothing comes, and acknowledge each."""
    names: list[str] = []
    acks: list[str] = []
    while True:
        reply = driver.step(worker, 1, acks=acks)
        if not reply.claims and not reply.more:
            return names
        acks = [delivery for delivery, _ in reply.claims]
        names += [frame.partition(b"\n")[2].decode() for _, frame in reply.claims]


def test_higher_ones_go_first_and_equal_ones_in_order(driver: Driver) -> None:
    send(driver, -100, "lowest")
    send(driver, 0, "plain 1", "plain 2")
    send(driver, -1, "low 1", "low 2")
    send(driver, 100, "highest")
    send(driver, 1, "high 1")
    send(driver, 1, "high 2", "high 3")
    expected = ["highest", "high 1", "high 2", "high 3", "plain 1", "plain 2", "low 1", "low 2", "lowest"]
    assert order(driver) == expected


def test_ten_and_nine_are_told_apart_after_a_trillion_tasks(driver: Driver) -> None:
    """Scores are floats: neighbours must differ, and priorities must not run into each other."""
    driver.do("HSET", driver.keys.counters, "sequence", 999_999_999_000)
    for priority in (-100, 99, 9, 10, 100, -99):
        send(driver, priority, *[f"{priority} {n}" for n in range(3)])
    assert order(driver) == [f"{priority} {n}" for priority in (100, 99, 10, 9, -99, -100) for n in range(3)]


def test_a_delayed_task_takes_its_place_however_many_are_due(timed: Driver) -> None:
    send(timed, 0, *[f"plain {n}" for n in range(3000)], delay=500)
    send(timed, 5, "five", delay=1000)
    send(timed, 9, "nine", delay=1000)
    send(timed, -9, "minus nine", delay=100)
    send(timed, 5, "five, at once")
    timed.clock = NOON + 999
    assert timed.claim("a", 1) == [b"five, at once"]
    timed.clock = NOON + 1000
    assert timed.claim("a", 3)[:2] == [b"nine", b"five"]
    rest = timed.claim("a", 1000) + timed.claim("a", 1000) + timed.claim("a", 1000)
    assert rest[-1] == b"minus nine"
    assert len(rest) == 3000


def test_it_stands_behind_those_of_its_priority_that_were_ready_before(timed: Driver) -> None:
    send(timed, 5, "late", delay=1000)
    send(timed, 5, "soon 1", "soon 2", "soon 3", delay=10)
    send(timed, 5, "soon 4", delay=10)
    send(timed, 5, "now")
    timed.clock = NOON + 2000
    send(timed, 5, "then")  # no step has seen yet that the others are due
    assert order(timed) == ["now", "soon 1", "soon 2", "soon 3", "soon 4", "late", "then"]


def test_the_next_due_time_is_that_of_either_kind(timed: Driver) -> None:
    send(timed, 5, "five", delay=300)
    send(timed, 0, "plain", delay=500)
    assert timed.step("a", 1).next_due == NOON + 300
    timed.clock = NOON + 300
    reply = timed.step("a", 2)
    assert (len(reply.claims), reply.next_due) == (1, NOON + 500)


def test_more_than_one_step_can_promote_are_still_in_order(timed: Driver) -> None:
    send(timed, 1, *[f"one {n}" for n in range(PROMOTED + 200)], delay=100)
    send(timed, 2, *[f"two {n}" for n in range(PROMOTED)], delay=200)
    send(timed, 0, "plain")
    timed.clock = NOON + 200
    replies = [timed.step("a", 1) for _ in range(3)]
    assert [(reply.more, len(reply.claims)) for reply in replies] == [(True, 0), (True, 0), (True, 1)]
    assert replies[2].claims[0][1].endswith(b"\ntwo 0")
    claimed = timed.claim("a", 1000) + timed.claim("a", 1000) + timed.claim("a", 1000)
    expected = [*(f"two {n}" for n in range(1, PROMOTED)), *(f"one {n}" for n in range(PROMOTED + 200)), "plain"]
    assert claimed == [name.encode() for name in expected]


def test_a_retry_keeps_its_priority(timed: Driver) -> None:
    send(timed, 5, "again", "other")
    ((delivery, _),) = timed.step("a", 1).claims
    timed.step("a", 0, settles=[Settle(delivery, "retry", 1000, "")])
    send(timed, 4, "four")
    send(timed, 0, "plain")
    assert not timed.drained()
    timed.clock = NOON + 1000
    ((_, frame),) = timed.step("a", 1).claims
    assert frame.endswith(b"\nother")
    ((delivery, frame),) = timed.step("a", 1).claims
    assert frame.startswith(b"again 2 0 p5.")
    ((_, frame),) = timed.step("a", 1, settles=[Settle(delivery, "retry", 0, "")]).claims
    assert frame.startswith(b"again 3 0 p5."), "at once: nothing with a lower priority goes before it"
    timed.recover("a", "left")
    assert order(timed) == ["other", "again", "four", "plain"]


@pytest.mark.parametrize("why", ["dead", "left"])
@pytest.mark.parametrize("priority", [7, -7])
def test_what_a_gone_worker_held_has_its_old_place(driver: Driver, why: Literal["dead", "left"], priority: int) -> None:
    names = [f"task {n}" for n in range(6)]
    send(driver, priority, *names)
    driver.step("a", 4)
    driver.recover("a", why)
    send(driver, priority, "last")
    assert order(driver) == [*names, "last"]


def test_a_requeued_dead_letter_has_its_priority(driver: Driver) -> None:
    send(driver, 3, "three", "three, too")
    send(driver, 2, "two")
    claims = driver.step("a", 3).claims
    driver.step("a", 0, settles=[Settle(delivery, "dead", Reason.REJECTED, "") for delivery, _ in claims])
    assert [letter.get(b"priority") for letter in driver.letters()] == [b"3", b"3", b"2"]
    entries = [entry.decode() for entry, _ in driver.do("XRANGE", driver.keys.dead, "-", "+")]
    driver.call(inquiries.requeue(driver.keys, entries[::-1]))
    send(driver, 0, "plain")
    assert order(driver) == ["three, too", "three", "two", "plain"]


def test_a_suspect_has_its_priority_when_it_is_innocent(timed: Driver) -> None:
    send(timed, 8, "suspect")
    for worker in ("a", "b"):
        timed.step(worker, 1)
        timed.recover(worker)
    assert timed.suspects()
    timed.register("c")
    assert not timed.step("c", 5).claims, "a bell was there, which might have been work"
    ((delivery, frame),) = timed.step("c", 5).claims
    assert frame.startswith(b"suspect 1 2 p8.")
    timed.step("c", 0, settles=[Settle(delivery, "retry", 100, "")])
    timed.clock = NOON + 100
    send(timed, 9, "nine")
    assert timed.claim("c", 5) == [b"nine"], "its next attempt is alone, too"
    assert timed.suspects()[0].startswith(b"suspect 2 2 p8.")


@pytest.mark.parametrize("number", ["nonsense", "1.5", "-3", "9" * 18, "9" * 30, ""])
def test_a_spoiled_sequence_loses_nothing(driver: Driver, number: str) -> None:
    driver.check = lambda: None  # type: ignore[method-assign]  # it minds spoiled numbers
    send(driver, 5, "before", "before")
    driver.do("HSET", driver.keys.counters, "sequence", number)
    send(driver, 5, "before", "after")
    send(driver, 6, "first", "first")
    names = order(driver)
    assert names[:2] == ["first", "first"]
    assert sorted(names[2:]) == ["after", "before", "before", "before"]


FORGED = [
    "p101.1",
    "p0.1",
    "p-0.1",
    "p5",
    "p5.",
    "p.5",
    "p5.1.1",
    "p5.12345678901234",
    "p+5.1",
    "p1e1.1",
    "5 p5.1 6",
    "q5.1",
]


@pytest.mark.parametrize("key", ["priority", "deferred", "scheduled"])
@pytest.mark.parametrize("forged", FORGED)
def test_a_forged_place_makes_the_whole_a_payload(driver: Driver, key: str, forged: str) -> None:
    driver.check = lambda: None  # type: ignore[method-assign]  # it takes forged headers for headers
    raw = f"t.1 1 0 {forged}\nx".encode()
    driver.do("ZADD", getattr(driver.keys, key), -1, raw)
    # What is no deferred task is made a plain one, which is due from the next step on.
    claims = driver.step("a", 5).claims or driver.step("a", 5).claims
    ((delivery, frame),) = claims
    assert frame == b"%s 1 0\n%s" % (frame.partition(b" ")[0], raw)
    driver.step("a", 0, settles=[Settle(delivery, "retry", 0, "")])
    assert driver.claim("a", 1) == [raw]
    assert driver.recover("a")
    assert driver.claim("b", 1) == [raw]


@pytest.mark.parametrize(("delay", "priority"), [(1, 0), (0, 5), (1, 5), (0, -5)])
def test_twins_are_never_one_task(timed: Driver, delay: int, priority: int) -> None:
    """Same id, same payload, and all that can befall them; the second comes when the first has left its set."""
    timed.check = lambda: None  # type: ignore[method-assign]  # it minds two tasks of one id
    for _ in range(3):
        send(timed, priority, "twin", delay=delay)
        assert timed.clock
        timed.clock += delay
        timed.step("a", 1)
    timed.step("a", 0, settles=[Settle(delivery, "retry", 0, "") for delivery in timed.held("a")])
    assert len(timed.step("a", 5).claims) == 3
    timed.recover("a", "left")
    assert len(timed.step("b", 5).claims) == 3
    timed.step("b", 0, settles=[Settle(delivery, "dead", "rejected", "") for delivery in timed.held("b")])
    entries = [entry.decode() for entry, _ in timed.do("XRANGE", timed.keys.dead, "-", "+")]
    timed.call(inquiries.requeue(timed.keys, entries))
    assert order(timed) == ["twin"] * 3


@pytest.mark.parametrize("bells", [0, 5, 2000])
@pytest.mark.parametrize("want", [1, 3, 50])
def test_negative_ones_wait_until_nothing_plain_is_ready(timed: Driver, bells: int, want: int) -> None:
    send(timed, -1, "last 1", "last 2")
    send(timed, 0, *[f"due {n}" for n in range(10)], delay=1)
    timed.clock = NOON + 1
    send(timed, 0, "listed")
    timed.push(*[b""] * bells)
    timed.push(b"handed")
    claimed: list[bytes] = []
    for _ in range(200):
        claimed += timed.claim("a", want)
    assert claimed[-2:] == [b"last 1", b"last 2"]
    assert len(claimed) == 14


FAULTS = {
    "at most half is promoted": Edit(
        "for _, frame in ipairs(ripe) do", "for i = 1, #ripe / 2 do local frame = ripe[i]"
    ),
    "a retry has no priority": Edit(
        "line_up(tonumber(ARGV[i + 2]), priority or 0,", "line_up(tonumber(ARGV[i + 2]), 0,"
    ),
    "what is given back has no place": Edit("elseif place ~= '' then\n", "elseif false then\n", "recover"),
    "a score has no number": Edit("return number - priority * STRIDE", "return -priority * STRIDE"),
    "numbers outweigh priorities": Edit("STRIDE = 35184372088832", "STRIDE = 3"),
    "a delayed one keeps its first number": Edit("place = 'p' .. priority .. '.' .. next_number()\n", "\n", "step"),
    "those due in one ms are in any order": Edit(" + number % 4096 / 4096", ""),
    "whoever is sent now jumps the due": Edit(
        "'(' .. now + 1, 'LIMIT', 0, 1) == 0 then", "0, 'LIMIT', 0, 1) == 0 then"
    ),
}


@pytest.mark.parametrize("seed", range(RACES))
def test_three_workers_claim_in_exact_order(redis_client: redis.Redis, seed: int) -> None:
    Race(redis_client, seed).go()


@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_order_is_noticed(redis_client: redis.Redis, fault: str) -> None:
    for seed in range(RACES):
        try:
            Race(redis_client, seed, [FAULTS[fault]]).go()
        except (AssertionError, redis.ResponseError):
            return
    pytest.fail("no race noticed it")
