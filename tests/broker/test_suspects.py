"""Poison: a task that saw two crashes runs alone, and three more are its end. Innocents are never buried."""

import itertools

import pytest

from multiworker.worker import answers, commands
from multiworker.worker.commands import Settle
from multiworker.worker.errors import Reason
from tests.broker.driver import NOON, Driver, read_frame

LIVES = itertools.count(1)


def born(driver: Driver, *, proven: bool = True) -> str:
    """Register a worker under an id that never was; a proven one has settled a task."""
    worker = f"w-{next(LIVES)}"
    assert driver.register(worker)
    if proven:
        prove(driver, worker)
    return worker


def prove(driver: Driver, worker: str) -> None:
    for counter in ("claimed", "done"):
        driver.client.hincrby(driver.keys.inflight(worker), counter)


@pytest.fixture
def driver(driver: Driver) -> Driver:
    """Its workers a and b are proven."""
    prove(driver, "a")
    prove(driver, "b")
    return driver


@pytest.fixture
def timed(timed: Driver) -> Driver:
    """Its workers a and b are proven."""
    prove(timed, "a")
    prove(timed, "b")
    return timed


def put_suspects(driver: Driver, *payloads: bytes) -> None:
    """Have tasks that saw two crashes, in this order."""
    driver.pushed.update(payloads)
    for payload in payloads:
        driver.client.lpush(driver.keys.suspects, b"t.%s 1 2\n%s" % (payload, payload))


def make_suspect(driver: Driver, payload: bytes) -> None:
    """Have a task see two crashes."""
    driver.client.rpush(driver.keys.queue, payload)  # at the head, so that it is the one that is claimed
    driver.pushed[payload] += 1
    for _ in range(2):
        worker = born(driver, proven=False)
        assert driver.claim(worker, 1, has_turn=True) == [payload]
        driver.recover(worker, "dead", "signal 11")
    assert payload in [read_frame(frame).payload for frame in driver.suspects()]


def test_one_crash_gives_a_task_back_at_once_and_counts_it(timed: Driver) -> None:
    timed.push(b"x")
    timed.claim("a")
    recovered = timed.recover("a", "dead", "signal 9")
    assert recovered == answers.Recovered(given_back=1, buried=0, claimed=2, done=1, retried=0, dead=0)
    assert timed.scheduled() == {b"a.1.1 1 1\nx": NOON}
    assert timed.suspects() == []


def test_two_crashes_make_a_suspect_in_company_or_alone(driver: Driver) -> None:
    driver.push(b"x", b"y")
    assert driver.claim("a", 2) == [b"x", b"y"]
    driver.recover("a")
    assert driver.suspects() == []
    assert sorted(driver.claim("b", 2) + driver.claim("b", 2)) == [b"x", b"y"]
    driver.recover("b")
    assert sorted(driver.suspects()) == [b"a.1.1 1 2\nx", b"a.1.2 1 2\ny"]


def test_a_suspect_goes_to_a_worker_that_holds_nothing(driver: Driver) -> None:
    make_suspect(driver, b"poison")
    driver.push(b"x")
    reply = driver.step("b", 5)
    assert [read_frame(frame).payload for _, frame in reply.claims] == [b"poison"]
    assert (reply.more, reply.turn) == (False, False)


def test_a_suspect_comes_alone(driver: Driver) -> None:
    put_suspects(driver, b"p", b"q")
    driver.push(b"x", b"y")
    assert driver.claim("b", 10) == [b"p"]
    assert sorted(driver.waiting()) == [b"x", b"y"]


def test_suspects_come_in_the_order_in_which_they_became_so(driver: Driver) -> None:
    put_suspects(driver, b"p", b"q", b"r")
    claims = []
    for no in (1, 2, 3):
        claims += driver.claim("b", 5, acks=[f"{no - 1}.1"])
    assert claims == [b"p", b"q", b"r"]


def test_tasks_of_other_queues_count_as_company(driver: Driver) -> None:
    make_suspect(driver, b"poison")
    reply = driver.step("b", 5, others=1)
    assert (reply.claims, reply.turn) == ([], True)
    assert driver.claim("b", 5, has_turn=True, others=0) == [b"poison"]


def test_a_worker_that_is_busy_gets_the_turn_and_claims_nothing_until_it_is_empty(timed: Driver) -> None:
    timed.push(b"long")
    assert timed.claim("b") == [b"long"]
    make_suspect(timed, b"poison")
    timed.push(b"x")

    reply = timed.step("b", 5)
    assert (reply.claims, reply.turn) == ([], True)
    timed.clock = NOON + commands.TURN_MS - 1
    reply = timed.step("b", 5, has_turn=True)
    assert (reply.claims, reply.turn) == ([], True)
    assert timed.claim("b", 5, acks=["1.1"], has_turn=True) == [b"poison"]


def busy_pair(driver: Driver) -> None:
    """Two workers, b and c, that hold one task each; a suspect and two more tasks wait."""
    driver.register("c")
    driver.push(b"one", b"two")
    assert driver.claim("b") + driver.claim("c") == [b"one", b"two"]
    make_suspect(driver, b"poison")
    driver.push(b"x", b"y")


def test_only_one_worker_runs_empty_and_the_others_go_on(timed: Driver) -> None:
    busy_pair(timed)
    assert timed.step("b", 1).turn
    reply = timed.step("c", 1)
    assert ([read_frame(frame).payload for _, frame in reply.claims], reply.turn) == ([b"x"], False)


def test_a_turn_ends_when_nothing_comes_of_it_and_another_may_have_it(timed: Driver) -> None:
    busy_pair(timed)
    assert timed.step("b", 1).turn
    timed.clock = NOON + commands.TURN_MS
    reply = timed.step("b", 1, has_turn=True)
    assert ([read_frame(frame).payload for _, frame in reply.claims], reply.turn) == ([b"x"], False)
    assert timed.step("c", 1).turn


def test_the_turn_of_a_worker_that_died_is_over_at_once(timed: Driver) -> None:
    busy_pair(timed)
    assert timed.step("b", 1).turn
    assert not timed.step("c", 1).turn
    timed.recover("b")
    assert timed.step("c", 1).turn


def test_the_death_of_another_ends_nobodys_turn(timed: Driver) -> None:
    busy_pair(timed)
    assert timed.step("b", 1).turn
    timed.step("c", 1)
    timed.recover("c")
    assert timed.client.zscore(timed.keys.workers, "*alone") == NOON + commands.TURN_MS


def test_the_turn_is_over_when_the_suspect_was_taken(timed: Driver) -> None:
    busy_pair(timed)
    assert timed.step("b", 1).turn
    assert timed.claim("a", 1) == [b"poison"]
    put_suspects(timed, b"q")
    assert timed.step("c", 1).turn, "the next suspect has a turn of its own"


def test_a_worker_that_has_settled_nothing_takes_no_suspect_while_there_is_other_work(driver: Driver) -> None:
    """In a crash loop the youngest would take it and die with it, and an innocent would be blamed."""
    put_suspects(driver, b"p")
    driver.push(b"x")
    young = born(driver, proven=False)
    reply = driver.step(young, 1)
    assert ([read_frame(frame).payload for _, frame in reply.claims], reply.turn) == ([b"x"], False)
    assert driver.claim(young, 1, acks=["1.1"]) == [b"p"], "now it has settled one"


def test_a_worker_that_has_settled_nothing_takes_a_suspect_if_there_is_nothing_else(driver: Driver) -> None:
    put_suspects(driver, b"p")
    driver.push(b"")
    young = born(driver, proven=False)
    assert driver.claim(young, 1) == [], "a bell looks like work, once"
    assert driver.claim(young, 1) == [b"p"]


def test_the_turn_of_a_worker_that_settles_its_first_task_is_not_lost(driver: Driver) -> None:
    driver.push(b"x", b"y")
    young = born(driver, proven=False)
    assert driver.claim(young, 1) == [b"x"]
    put_suspects(driver, b"p")
    assert driver.step(young, 1).turn
    assert driver.claim(young, 1, acks=["1.1"], has_turn=True) == [b"p"]


def test_an_innocent_that_saw_two_crashes_runs_alone_and_is_done(driver: Driver) -> None:
    put_suspects(driver, b"poison", b"innocent")
    assert driver.claim("b", 5) == [b"poison"]
    assert driver.claim("b", 5, acks=["1.1"]) == [b"innocent"]
    driver.step("b", 5, acks=["2.1"])
    assert driver.letters() == []
    assert driver.drained()


def test_three_more_deaths_alone_are_the_end(driver: Driver) -> None:
    make_suspect(driver, b"poison\n\xff")
    for _ in range(3):
        assert driver.letters() == []
        worker = born(driver)
        assert driver.claim(worker, 5) == [b"poison\n\xff"]
        recovered = driver.recover(worker, "dead", "signal 11")
    assert recovered == answers.Recovered(given_back=0, buried=1, claimed=2, done=1, retried=0, dead=0)
    (letter,) = driver.letters()
    assert Reason(letter[b"reason"].decode()) is Reason.CRASHED
    assert (letter[b"detail"], letter[b"crashes"], letter[b"attempt"]) == (b"signal 11", b"5", b"1")
    assert (letter[b"payload"], letter[b"worker"]) == (b"poison\n\xff", worker.encode())
    driver.step("b", 1)
    assert driver.drained()


def test_nobody_is_buried_for_a_death_in_company(driver: Driver) -> None:
    """However that came about: with company there is no proof."""
    for n in (1, 2):
        driver.client.hset(driver.keys.inflight("a"), f"1.{n}", f"t.{n} 1 9\nx")
    driver.client.hincrby(driver.keys.inflight("a"), "claimed", 2)
    driver.pushed[b"x"] += 2
    driver.recover("a")
    assert sorted(driver.suspects()) == [b"t.1 1 10\nx", b"t.2 1 10\nx"]


def test_a_death_on_purpose_counts_for_nobody(driver: Driver) -> None:
    make_suspect(driver, b"suspect")
    before = driver.suspects()
    for _ in range(5):
        worker = born(driver)
        assert driver.claim(worker, 5) == [b"suspect"]
        assert driver.recover(worker, "left")
    assert driver.suspects() == before


def test_a_suspect_that_fails_without_a_crash_is_alone_again_at_its_next_attempt(timed: Driver) -> None:
    make_suspect(timed, b"poison")
    assert timed.claim("b", 5) == [b"poison"]
    timed.step("b", 0, settles=[Settle("1.1", "retry", 1000, "")])
    timed.clock = NOON + 1000
    timed.push(b"x", b"y")

    reply = timed.step("b", 10)
    assert [read_frame(frame).payload for _, frame in reply.claims] == [b"x", b"y"]
    assert reply.more, "there is a suspect now"
    assert [read_frame(frame).attempt for frame in timed.suspects()] == [2]
    assert timed.claim("a", 10) == [b"poison"]


@pytest.mark.parametrize("permits", [1, 2, 4, 20])
def test_no_innocent_is_ever_dead_lettered_whatever_company_it_keeps(driver: Driver, permits: int) -> None:
    """A poison task kills whoever runs it; every other task is done in the end."""
    driver.push(b"poison", *[b"innocent %d" % n for n in range(10)])
    worker = born(driver)
    for _ in range(100):
        reply = driver.step(worker, permits)
        if b"poison" in [read_frame(frame).payload for _, frame in reply.claims]:
            driver.recover(worker)
            worker = born(driver)
        else:
            driver.step(worker, 0, acks=[delivery for delivery, _ in reply.claims])
        if driver.drained():
            break
    assert driver.drained()
    assert [letter[b"payload"] for letter in driver.letters()] == [b"poison"]
    assert driver.done.total() == 10
