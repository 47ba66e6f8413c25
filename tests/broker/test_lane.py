"""What a child holds of one queue, and its books when what it says and what Redis has differ."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from multiworker.worker.broker import Broker
from multiworker.worker.errors import Fenced, Reason, RedisUnavailable, Stale
from multiworker.worker.executor import Executor, Run
from multiworker.worker.lane import Lane
from multiworker.worker.ledger import Ledger
from multiworker.worker.outcome import Dead, RetryIn
from multiworker.worker.registry import Handler, Registry
from multiworker.worker.settings import Settings
from tests.broker.driver import Driver

TASK = b'{"type":"t"}'
DEAD = Dead(Reason.REJECTED, "no", "no")


@pytest.fixture
def with_lane(redis_url: str) -> Callable[..., None]:
    """Runs a coroutine function on a lane of worker w."""

    def run(script: Callable[[Lane], Awaitable[None]]) -> None:
        async def main() -> None:
            settings = Settings(redis=redis_url)
            lane = Lane(Broker("jobs", settings), Ledger())
            assert await lane.broker.register("w")
            try:
                await script(lane)
                ledger = lane.ledger
                assert ledger.claimed == ledger.done + ledger.retried + ledger.dead + ledger.given_back + lane.held
            finally:
                await lane.broker.close()

        asyncio.run(main())

    return run


def hold(lane: Lane, claims: list[tuple[str, bytes]]) -> list[str]:
    """Have claimed tasks run, as far as the lane can tell."""

    async def nothing(data: Any) -> None: ...

    executor = Executor(Registry({"t": Handler(nothing)}), Settings())
    for delivery, frame in claims:
        run = executor.accept(delivery, frame, "jobs")
        assert isinstance(run, Run)
        lane.running[delivery] = run
    return [delivery for delivery, _ in claims]


async def claim(lane: Lane, count: int) -> list[str]:
    return hold(lane, (await lane.step(count, 0)).claims)


def end(lane: Lane, delivery: str, outcome: RetryIn | Dead | None = None) -> None:
    """Have a run end."""
    del lane.running[delivery]
    if outcome:
        lane.settle(delivery, outcome)
    else:
        lane.acks.append(delivery)


def test_what_ends_is_booked_when_it_is_confirmed(driver: Driver, with_lane: Callable[..., None]) -> None:
    async def script(lane: Lane) -> None:
        first, second, third, fourth = await claim(lane, 4)
        assert (lane.held, lane.has_news) == (4, False)
        end(lane, first)
        end(lane, second, RetryIn(1.5, "no"))
        end(lane, third, DEAD)
        assert (lane.held, lane.has_news) == (4, True)
        await lane.step(0, 0)
        assert lane.ledger == Ledger(claimed=4, done=1, retried=1, dead=1)
        assert (lane.held, lane.has_news, lane.broken) == (1, False, False)
        assert list(lane.running) == [fourth]

    driver.push(*[TASK] * 4)
    with_lane(script)


def test_a_delay_is_sent_in_whole_milliseconds(driver: Driver, with_lane: Callable[..., None]) -> None:
    async def script(lane: Lane) -> None:
        lane.settle("1.1", RetryIn(0.0015, ""))
        lane.settle("1.2", RetryIn(1e-9, ""))
        lane.settle("1.3", RetryIn(3.2e8, ""))
        assert [settle.value for settle in lane.settles] == [2, 0, 320_000_000_000]
        lane.settles.clear()

    with_lane(script)


def test_what_redis_no_longer_held_is_given_back_and_told(
    driver: Driver, with_lane: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    async def script(lane: Lane) -> None:
        first, second, _ = await claim(lane, 3)
        driver.client.hdel(driver.keys.inflight("w"), first, second)
        end(lane, first)
        end(lane, second, DEAD)
        await lane.step(0, 0)
        assert lane.ledger == Ledger(claimed=3, given_back=2)

    driver.push(*[TASK] * 3)
    with_lane(script)
    assert "2 tasks ended that Redis no longer held" in caplog.text


def test_a_stale_step_keeps_everything_for_the_reconcile(driver: Driver, with_lane: Callable[..., None]) -> None:
    async def script(lane: Lane) -> None:
        first, second, third = await claim(lane, 3)
        end(lane, first)
        end(lane, second, DEAD)
        driver.client.hset(driver.keys.inflight("w"), "no", 7)
        with pytest.raises(Stale):
            await lane.step(5, 0)
        assert (lane.broken, lane.held) == (True, 3)
        end(lane, third)
        for _ in range(10):
            try:
                assert await lane.reconcile() == []
            except Stale:
                continue
            break
        assert (lane.broken, lane.held) == (False, 3)
        assert lane.acks == [first, third]
        await lane.step(0, 0)
        assert lane.ledger == Ledger(claimed=3, done=2, dead=1)

    driver.push(*[TASK] * 3)
    with_lane(script)


def test_a_step_that_was_carried_out_unseen_is_booked_by_the_reconcile(
    driver: Driver, with_lane: Callable[..., None]
) -> None:
    async def script(lane: Lane) -> None:
        first, second, third, running = await claim(lane, 4)
        end(lane, first)
        end(lane, second, DEAD)
        end(lane, third, RetryIn(60, ""))
        ask = lane.broker._steps.ask_after

        async def lose(*arguments: Any, **more: Any) -> Any:
            await ask(*arguments, **more)
            raise RedisUnavailable("the reply was lost")

        lane.broker._steps.ask_after = lose  # type: ignore[method-assign]  # the wire breaks after the command
        with pytest.raises(RedisUnavailable):
            await lane.step(5, 0)
        lane.broker._steps.ask_after = ask  # type: ignore[method-assign]
        unknown = await lane.reconcile()
        assert [frame for _, frame in unknown] == [b"w.2.1 1 0\n" + TASK]
        assert lane.ledger == Ledger(claimed=5, done=1, retried=1, dead=1)
        assert (lane.acks, lane.settles) == ([], [])
        hold(lane, unknown)
        assert sorted(lane.running) == sorted([running, "2.1"])

    driver.push(*[TASK] * 5)
    with_lane(script)


def test_a_run_that_is_held_no_more_is_stopped(driver: Driver, with_lane: Callable[..., None]) -> None:
    async def script(lane: Lane) -> None:
        first, second = await claim(lane, 2)
        running = asyncio.create_task(asyncio.sleep(3600))
        lane.running[first].task = running
        driver.client.hdel(driver.keys.inflight("w"), first)
        assert await lane.reconcile() == []
        await asyncio.wait([running])
        assert running.cancelled()
        assert list(lane.running) == [second]
        assert lane.ledger == Ledger(claimed=2, given_back=1)

    driver.push(*[TASK] * 2)
    with_lane(script)


def test_what_was_abandoned_or_is_being_hashed_is_known(driver: Driver, with_lane: Callable[..., None]) -> None:
    async def script(lane: Lane) -> None:
        first, second = await claim(lane, 2)
        lane.running.clear()
        lane.abandoned.append(first)
        lane.hashing.add(second)
        assert lane.held == 2
        assert await lane.reconcile() == []

    driver.push(*[TASK] * 2)
    with_lane(script)


def test_a_worker_that_was_given_up_learns_it(driver: Driver, with_lane: Callable[..., None]) -> None:
    async def script(lane: Lane) -> None:
        driver.recover("w")
        with pytest.raises(Fenced):
            await lane.step(1, 0)
        with pytest.raises(Fenced):
            await lane.reconcile()

    with_lane(script)
