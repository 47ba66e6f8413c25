"""The main loop on a real Redis: what comes out of tasks, in which order, and how many at once."""

import asyncio
import time
from collections import Counter
from typing import Any

from multiworker.worker.context import current
from tests.broker.driver import Driver
from tests.broker.rig import Gate, consuming, run, task
from tests.waiting import until


def test_tasks_run_in_order_and_are_done(driver: Driver, redis_url: str) -> None:
    seen: list[Any] = []

    async def note(data: Any) -> None:
        seen.append(data)

    async def main() -> None:
        driver.push(*[task("note", n) for n in range(50)])
        async with consuming(redis_url, {"note": note}) as rig:
            await rig.until_settled(50)
            driver.push(*[task("note", n) for n in range(50, 60)])
            await rig.until_settled(60)
            await rig.drain()
            assert (rig.ledger.claimed, rig.ledger.done) == (60, 60)
            assert rig.reports > 0

    run(main)
    assert seen == list(range(60))
    assert driver.held("w") == {}
    assert driver.waiting() == []


def test_as_many_run_at_once_as_there_are_permits_and_never_more(driver: Driver, redis_url: str) -> None:
    async def main() -> None:
        gate = Gate()
        driver.push(*[task("wait", n) for n in range(40)])
        async with consuming(redis_url, {"wait": gate}, concurrency=7) as rig:
            await until(lambda: len(gate.inside) == 7)
            assert len(driver.held("w")) == 7, "nothing is claimed that cannot start"
            gate.open()
            await rig.until_settled(40)
            assert gate.most == 7

    run(main)


def test_permits_are_used_again_one_by_one(driver: Driver, redis_url: str) -> None:
    async def main() -> None:
        most = inside = 0

        async def work(n: int) -> None:
            nonlocal most, inside
            inside += 1
            most = max(most, inside)
            await asyncio.sleep((n % 5) / 1000)
            inside -= 1

        driver.push(*[task("work", n) for n in range(500)])
        async with consuming(redis_url, {"work": work}, concurrency=9) as rig:
            await rig.until_settled(500)
        assert 1 < most <= 9

    run(main)


def test_a_batch_is_no_larger_than_its_size(driver: Driver, redis_url: str) -> None:
    async def main() -> None:
        gate = Gate()
        driver.push(*[task("wait", n) for n in range(10)])
        async with consuming(redis_url, {"wait": gate}, concurrency=10, batch_size=3):
            await until(lambda: len(gate.inside) == 10)
        claims = Counter(delivery.partition(".")[0] for delivery in driver.held("w"))
        assert max(claims.values()) == 3

    run(main)


def test_the_first_queue_comes_first(driver: Driver, redis_url: str) -> None:
    order: list[str] = []
    other = Driver(driver.client, "later")

    async def note(data: Any) -> None:
        order.append(current().queue)
        if len(order) == 5:
            driver.do("LPUSH", "jobs", *[task("note")] * 3)
        await asyncio.sleep(0)

    async def main() -> None:
        driver.do("LPUSH", "later", *[task("note")] * 10)
        driver.do("LPUSH", "jobs", *[task("note")] * 3)
        async with consuming(redis_url, {"note": note}, concurrency=1, queue=("jobs", "later")) as rig:
            await rig.until_settled(16)

    run(main)
    # Fails while the consumer claims from a later queue without having looked at the earlier ones.
    assert order == ["jobs"] * 3 + ["later"] * 2 + ["jobs"] * 3 + ["later"] * 8
    assert other.drained()


def test_a_later_queue_gets_nothing_while_an_earlier_one_may_have_more(driver: Driver, redis_url: str) -> None:
    order: list[str] = []

    async def note(data: Any) -> None:
        order.append(current().queue)
        await asyncio.sleep(0.001)

    async def main() -> None:
        for queue in ("later", "jobs"):
            driver.do("LPUSH", queue, *[task("note")] * 20)
        async with consuming(redis_url, {"note": note}, concurrency=4, batch_size=1, queue=("jobs", "later")) as rig:
            await rig.until_settled(40)

    run(main)
    assert order == ["jobs"] * 20 + ["later"] * 20


def test_a_push_to_any_queue_wakes_an_idle_consumer(driver: Driver, redis_url: str) -> None:
    async def main() -> None:
        seen: list[str] = []

        async def note(data: Any) -> None:
            seen.append(current().queue)

        async with consuming(redis_url, {"note": note}, queue=("jobs", "later"), interval=10) as rig:
            for queue in ("later", "jobs", "later", "jobs"):
                driver.do("LPUSH", queue, task("note"))
                await rig.until_settled(len(seen) + 1)
        assert seen == ["later", "jobs", "later", "jobs"]

    run(main)


def test_a_push_wakes_a_consumer_that_waits_for_long(driver: Driver, redis_url: str) -> None:
    async def main() -> None:
        async def nothing(data: Any) -> None: ...

        started = time.monotonic()
        async with consuming(redis_url, {"note": nothing}, interval=10) as rig:
            for n in range(1, 6):
                await until(lambda: driver.client.info("clients")["blocked_clients"])
                driver.push(task("note"))
                await rig.until_settled(n)
        assert time.monotonic() - started < 10, "each was started when it came, not when the wait was over"

    run(main)


def test_a_suspect_runs_alone(driver: Driver, redis_url: str) -> None:
    async def main() -> None:
        inside: set[Any] = set()
        company: dict[Any, int] = {}

        async def note(data: Any) -> None:
            inside.add(data)
            for _ in range(5):
                company[data] = max(company.get(data, 0), len(inside) - 1)
                await asyncio.sleep(0.001)
            inside.discard(data)

        driver.push(*[task("note", n) for n in range(30)])
        suspects = [task("note", f"suspect {n}") for n in range(3)]
        for suspect in suspects:
            driver.client.lpush(driver.keys.suspects, b"s.%d 1 2\n%s" % (hash(suspect) % 10**9, suspect))
        async with consuming(redis_url, {"note": note}, concurrency=5) as rig:
            await rig.until_settled(33)
        assert [company.pop(f"suspect {n}") for n in range(3)] == [0, 0, 0]
        assert max(company.values()) == 4, "the others had company"

    run(main)


def test_a_busy_consumer_runs_empty_for_a_suspect(driver: Driver, redis_url: str) -> None:
    async def main() -> None:
        gate = Gate()
        async with consuming(redis_url, {"wait": gate}, concurrency=3, interval=0.05) as rig:
            driver.push(task("wait", 0))
            await until(lambda: gate.inside == [0])
            driver.client.lpush(driver.keys.suspects, b"s.1 1 2\n" + task("wait", "suspect"))
            driver.push(task("wait", 1))
            await until(lambda: rig.lanes[0].turn)
            assert gate.inside == [0]
            gate.open()
            await rig.until_settled(3)
            assert gate.entered == [0, "suspect", 1]

    run(main)


def test_the_lease_is_renewed_while_a_task_runs(driver: Driver, redis_url: str) -> None:
    async def main() -> None:
        gate = Gate()
        driver.push(task("wait"))
        async with consuming(redis_url, {"wait": gate}, stuck_timeout=0.4, concurrency=1):
            await until(lambda: gate.inside)
            ends: set[float | None] = set()

            def renewed() -> bool:
                ends.add(driver.client.zscore(driver.keys.workers, "w"))
                return len(ends) > 5

            await until(renewed)

    run(main)
