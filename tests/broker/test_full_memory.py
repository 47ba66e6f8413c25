"""At maxmemory, producers are refused and workers drain the queue all the same."""

from collections.abc import Iterator

import pytest
from redis.exceptions import OutOfMemoryError

from multiworker.worker import commands
from multiworker.worker.commands import Settle
from multiworker.worker.errors import Reason
from tests.broker.driver import NOON, WHOLE, Driver, Edit


@pytest.fixture
def full(timed: Driver) -> Iterator[Driver]:
    """A queue with tasks of every kind; `fill` makes the memory full."""
    timed.push(*[b"%d" % n for n in range(20)], b"x" * 2000, b"y" * (WHOLE + 1))
    timed.step("b", 4)
    timed.step("b", 0, settles=[Settle("1.1", "retry", 0, ""), Settle("1.2", "retry", 10_000, "")])
    for delay, payload in ((0, b"urgent"), (5, b"soon urgent")):
        timed.call(commands.schedule(timed.keys, delay, 5, [(f"p{delay}", payload)]))
        timed.pushed[payload] += 1
    yield timed
    timed.client.config_set("maxmemory", "0")


def fill(driver: Driver) -> None:
    """Let Redis refuse whatever needs memory."""
    driver.do("SET", "test:clock", driver.clock)
    driver.client.config_set("maxmemory", "1")
    driver.clock = None  # it stays where it is, for SET is refused now


def test_this_test_fills_the_memory(full: Driver) -> None:
    fill(full)
    queue, handoff = full.keys.queue, full.keys.handoff
    for command in (("LPUSH", queue, "z"), ("BLMOVE", queue, handoff, "RIGHT", "LEFT", 1)):
        with pytest.raises(OutOfMemoryError):
            full.do(*command)


def test_a_worker_drains_everything(full: Driver) -> None:
    assert full.clock
    full.clock += 5
    fill(full)
    assert full.register("new")
    reply = full.step("new", 100, largest=1000)
    assert reply.buried == 1
    assert len(reply.claims) == 16 + 1 + 2 + 1, "the list, a retry, two with a priority, one too large even to bury"
    assert [frame.partition(b"\n")[2] for _, frame in reply.claims[:2]] == [b"urgent", b"soon urgent"]
    deliveries = [delivery for delivery, _ in reply.claims]
    settles = [Settle(deliveries[0], "retry", 0, ""), Settle(deliveries[1], "dead", Reason.REJECTED, "x" * 2000)]
    assert full.step("new", 0, acks=deliveries[2:], settles=settles).missing == []
    assert len(full.step("new", 5).claims) == 1


def test_what_was_lost_is_found_and_given_back(full: Driver) -> None:
    fill(full)
    claims = full.step("a", 5).claims
    assert full.reconcile("a", [claims[0][0]])[1] == claims[1:]
    recovered = full.recover("a")
    assert recovered
    assert recovered.given_back == 5
    assert full.client.exists(full.keys.queue)


def test_poison_is_found_out(full: Driver) -> None:
    full.client.lpush(full.keys.suspects, b"t.1 1 4\npoison")
    full.pushed[b"poison"] += 1
    fill(full)
    full.step("a", 1)
    full.step("a", 1, acks=["1.1"])
    recovered = full.recover("a")
    assert recovered
    assert recovered.buried == 1


def test_upkeep_goes_on(full: Driver) -> None:
    fill(full)
    assert full.upkeep() == []
    assert full.client.zscore(full.keys.workers, "*tick") == NOON
    assert not full.drained()


def test_it_is_the_first_write_that_lets_them(full: Driver) -> None:
    careless = Driver(full.client, edits=[Edit("call('ZREM', WORKERS, '')", "")])
    fill(full)
    step = commands.step(full.keys, "a", 1, 1000, 5, [], [], largest=1000, has_turn=False, others=0)
    with pytest.raises(OutOfMemoryError):
        careless.call(step)
    assert full.step("a", 5).claims
