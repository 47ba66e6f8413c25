"""The blocking wait: it wakes one waiter a push, owns nothing and loses nothing."""

import asyncio
from typing import Any

import redis

from multiworker.worker import commands
from multiworker.worker.connections import Wire
from tests.broker.driver import Driver
from tests.waiting import until

WAITERS = 5


def blocked(client: redis.Redis) -> int:
    """How many clients wait for a push."""
    info: Any = client.info("clients")
    return int(info["blocked_clients"])


def test_a_push_wakes_exactly_one_of_many(driver: Driver, redis_url: str) -> None:
    async def main() -> list[Any]:
        wires = [Wire(redis_url) for _ in range(WAITERS)]
        waits = [asyncio.create_task(wire.ask(commands.wait(driver.keys, 60), extra=60)) for wire in wires]
        await until(lambda: blocked(driver.client) == WAITERS)
        driver.push(b"x")
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        assert sum(wait.done() for wait in waits) == 1
        driver.push(*[b"y"] * (WAITERS - 1))
        replies = await asyncio.gather(*waits)
        for wire in wires:
            await wire.close()
        return replies

    assert sorted(asyncio.run(main())) == [b"x"] + [b"y"] * (WAITERS - 1)
    driver.check()


def test_what_a_wait_moved_is_everybodys_and_comes_first(driver: Driver, redis_url: str) -> None:
    async def main() -> None:
        wire = Wire(redis_url)
        driver.push(b"x", b"y")
        assert await wire.ask(commands.wait(driver.keys, 1), extra=1) == b"x"
        await wire.close()

    asyncio.run(main())
    driver.check()
    assert driver.claim("a", 2) == [b"x", b"y"]


def test_the_wait_of_a_worker_that_is_gone_loses_nothing(driver: Driver, redis_url: str) -> None:
    async def main() -> None:
        wire = Wire(redis_url)
        wait = asyncio.create_task(wire.ask(commands.wait(driver.keys, 60), extra=60))
        await until(lambda: blocked(driver.client))
        wait.cancel()
        await asyncio.wait([wait])
        driver.push(b"x")
        await until(lambda: driver.waiting() == [b"x"])

    asyncio.run(main())
    driver.check()
    assert driver.claim("a") == [b"x"]


def test_whatever_makes_work_ready_wakes_a_waiter(driver: Driver, redis_url: str) -> None:
    def crash() -> None:
        driver.recover("a")

    def schedule() -> None:
        driver.pushed[b"due"] += 1
        driver.call(commands.schedule(driver.keys, 0, 0, [("t.1", b"due")]))

    def leave_some() -> None:
        driver.step("b", 1)

    async def main(act: Any) -> Any:
        wire = Wire(redis_url)
        wait = asyncio.create_task(wire.ask(commands.wait(driver.keys, 60), extra=60))
        await until(lambda: blocked(driver.client))
        act()
        try:
            return await wait
        finally:
            await wire.close()

    driver.push(b"x", b"y", b"z")
    driver.claim("a", 3)
    assert asyncio.run(main(crash)) == b"", "a bell"
    assert asyncio.run(main(leave_some)) == b"", "two are left over"
    assert asyncio.run(main(schedule)) == b""
