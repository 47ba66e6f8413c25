"""When a consumer takes nothing more: quota, quiet, drain, burst, and when others gave it up."""

import asyncio
import time
from typing import Any

from multiworker.worker import commands
from multiworker.worker.context import current
from multiworker.worker.errors import Retry
from tests.broker.driver import Driver
from tests.broker.rig import Gate, consuming, run, task
from tests.waiting import until


def test_a_quota_is_kept_to_the_task(driver: Driver, redis_url: str) -> None:
    async def main() -> None:
        runs: list[Any] = []

        async def note(data: Any) -> None:
            runs.append(data)
            if data % 3 == 0 and current().attempt == 1:
                raise Retry(delay=0)

        async with consuming(redis_url, {"note": note}, max_payload=500) as rig:
            rig.quota = 0
            driver.push(*[task("note", n) for n in range(10)], *[b"bad"] * 5, *[b"x" * 501] * 30)
            for quota in (1, 2, 7, 20, 31):
                rig.quota = quota
                rig.consumer.wake()
                await rig.until_settled(quota)
                assert rig.ledger.claimed == quota
            rig.quota = 1000
            rig.consumer.wake()
            await rig.until_settled(49)
            await rig.drain()
            assert (rig.ledger.claimed, rig.ledger.done, rig.ledger.retried, rig.ledger.dead) == (49, 10, 4, 35)

    run(main)


def test_a_quiet_consumer_takes_nothing_and_finishes_what_it_has(driver: Driver, redis_url: str) -> None:
    async def main() -> None:
        gate = Gate()
        async with consuming(redis_url, {"wait": gate}) as rig:
            driver.push(task("wait", 1))
            await until(lambda: gate.inside == [1])
            rig.consumer.hush(quiet=True)
            driver.push(task("wait", 2))
            gate.open()
            await rig.until_settled(1)
            assert driver.waiting() == [task("wait", 2)]
            rig.consumer.hush(quiet=False)
            await rig.until_settled(2)

    run(main)


def test_an_idle_consumer_can_be_hushed_too(driver: Driver, redis_url: str) -> None:
    async def main() -> None:
        gate = Gate()
        gate.open()
        async with consuming(redis_url, {"wait": gate}, interval=10) as rig:
            await until(lambda: driver.client.info("clients")["blocked_clients"])
            rig.consumer.hush(quiet=True)
            await until(lambda: not driver.client.info("clients")["blocked_clients"])
            driver.push(task("wait", 1))
            rig.consumer.hush(quiet=False)
            await rig.until_settled(1)

    run(main)


def test_a_draining_consumer_finishes_what_it_has_and_takes_nothing(driver: Driver, redis_url: str) -> None:
    async def main() -> None:
        gate = Gate()
        driver.push(*[task("wait", n) for n in range(10)])
        async with consuming(redis_url, {"wait": gate}, concurrency=3) as rig:
            await until(lambda: len(gate.inside) == 3)
            rig.consumer.stop()
            gate.open()
            await rig.drain()
            assert (rig.ledger.done, rig.ledger.claimed) == (3, 3)
        assert len(driver.waiting()) == 7

    run(main)


def test_an_idle_consumer_stops_at_once(driver: Driver, redis_url: str) -> None:
    async def main() -> None:
        started = time.monotonic()
        async with consuming(redis_url, {}, interval=10) as rig:
            await until(lambda: driver.client.info("clients")["blocked_clients"])
            await rig.drain()
        assert time.monotonic() - started < 5

    run(main)


def test_what_does_not_end_is_given_back_without_counting(driver: Driver, redis_url: str) -> None:
    async def main() -> None:
        gate = Gate()
        driver.push(*[task("wait", n) for n in range(5)])
        async with consuming(redis_url, {"wait": gate}, concurrency=3) as rig:
            await until(lambda: len(gate.inside) == 3)
            rig.consumer.stop()
            await asyncio.wait(rig.consumer.deliveries.abandon())
            await rig.drain()
            assert rig.consumer.deliveries.held == 3
            await rig.leave()

    run(main)
    assert sorted(driver.scheduled()) == [b"w.1.%d 1 0\n%s" % (n + 1, task("wait", n)) for n in range(3)]
    driver.check()


def test_burst_ends_when_nothing_is_left_anywhere(driver: Driver, redis_url: str) -> None:
    async def main() -> None:
        runs: list[Any] = []

        async def note(data: Any) -> None:
            runs.append(data)
            if current().attempt == 1 and data == 0:
                raise Retry(delay=0.1)

        driver.push(task("note", 99))
        driver.step("a", 1)
        driver.push(*[task("note", n) for n in range(3)], b"")
        async with consuming(redis_url, {"note": note}, burst=True, interval=0.05) as rig:
            await rig.until_settled(4)
            assert rig.running
            assert not rig.running.done(), "another worker holds one"
            driver.step("a", 0, acks=["1.1"])
            await rig.running
            assert rig.consumer.finished
            rig.check()
        assert sorted(runs) == [0, 0, 1, 2]

    driver.check = lambda: None  # type: ignore[method-assign]  # the consumer acknowledges behind its back
    run(main)
    assert driver.drained()


def test_burst_does_not_end_before_what_is_put_off_with_a_priority(driver: Driver, redis_url: str) -> None:
    async def main() -> None:
        runs: list[Any] = []

        async def note(data: Any) -> None:
            runs.append((data, current().attempt))
            if current().attempt == 1:
                raise Retry(delay=0.1)

        for priority in (5, -5):
            task_id, payload = f"t{priority}", task("note", priority)
            driver.pushed[payload] += 1
            driver.call(commands.schedule(driver.keys, 150, priority, [(task_id, payload)]))
        async with consuming(redis_url, {"note": note}, burst=True, interval=0.05, concurrency=1) as rig:
            assert rig.running
            await rig.running
            assert rig.consumer.finished
            rig.check()
        assert runs == [(5, 1), (-5, 1), (5, 2), (-5, 2)]

    driver.check = lambda: None  # type: ignore[method-assign]  # the consumer acknowledges behind its back
    run(main)
    assert driver.drained()


def test_burst_on_an_empty_queue_ends_at_once(driver: Driver, redis_url: str) -> None:
    async def main() -> None:
        async with consuming(redis_url, {}, burst=True, queue=("jobs", "other")) as rig:
            assert rig.running
            await rig.running
            assert rig.consumer.finished

    run(main)


def test_a_consumer_that_was_given_up_stops(driver: Driver, redis_url: str) -> None:
    async def main() -> None:
        gate = Gate()
        driver.push(task("wait"))
        async with consuming(redis_url, {"wait": gate}, stuck_timeout=0.4) as rig:
            await until(lambda: gate.inside)
            driver.recover("w")
            assert rig.running
            await asyncio.wait([rig.running])
            assert type(rig.running.exception()).__name__ == "Fenced"
        assert len(driver.scheduled()) == 1

    run(main)
