"""The protocol as a child speaks it: request numbers, lateness, and elements too large to travel."""

import asyncio
import hashlib
import random
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest

from multiworker.worker.answers import Recovered
from multiworker.worker.broker import PIECE, Broker
from multiworker.worker.commands import Settle
from multiworker.worker.errors import Fenced, Reason, Stale
from multiworker.worker.settings import Settings
from tests.broker.driver import WHOLE, Driver

Script = Callable[[Broker], Awaitable[Any]]


@pytest.fixture
def speak(redis_url: str) -> Callable[..., Any]:
    """Runs a coroutine function on a broker that is registered as worker c."""

    def run(script: Script, **options: Any) -> Any:
        async def main() -> Any:
            settings = Settings(redis=redis_url, **options)
            broker = Broker("jobs", settings)
            assert await broker.register("c")
            try:
                return await script(broker)
            finally:
                await broker.close()

        return asyncio.run(main())

    return run


async def step(broker: Broker, want: int = 0, acks: tuple[str, ...] = (), settles: tuple[Settle, ...] = ()) -> Any:
    return await broker.step(want, acks, settles, has_turn=False, others=0)


def test_claims_settles_and_acks_go_through(driver: Driver, speak: Callable[..., Any]) -> None:
    async def script(broker: Broker) -> None:
        driver.push(b"x", b"y", b"z")
        reply = await step(broker, 3)
        assert [frame for _, frame in reply.claims] == [b"c.1.1 1 0\nx", b"c.1.2 1 0\ny", b"c.1.3 1 0\nz"]
        settles = (Settle("1.2", "retry", 60_000, ""), Settle("1.3", "dead", Reason.REJECTED, "\u20ac"))
        driver.done[b"x"] += 1
        assert (await step(broker, 5, ("1.1",), settles)).acknowledged == 1

    speak(script)
    driver.check()
    assert driver.letters()[0][b"detail"] == "\u20ac".encode()


def test_a_step_whose_number_was_used_is_stale_until_a_reconcile(driver: Driver, speak: Callable[..., Any]) -> None:
    async def script(broker: Broker) -> None:
        driver.push(b"x")
        driver.step("c", 1, no=2)
        for _ in range(2):
            with pytest.raises(Stale):
                await step(broker, 1)
        assert await broker.reconcile(["1.1"]) == ({"1.1"}, [("2.1", b"c.2.1 1 0\nx")])
        await step(broker, 1)

    speak(script)


def test_a_worker_that_was_given_up_is_fenced_everywhere(driver: Driver, speak: Callable[..., Any]) -> None:
    async def script(broker: Broker) -> None:
        driver.recover("c")
        with pytest.raises(Fenced):
            await step(broker)
        with pytest.raises(Fenced):
            await broker.reconcile([])

    speak(script)


@pytest.mark.parametrize("request_kind", ["step", "reconcile"])
def test_an_answer_that_comes_too_late_for_the_lease_is_not_trusted(
    driver: Driver, speak: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, request_kind: str
) -> None:
    """Its time is up before the answer is read: others may have been given the tasks that it names."""
    clock = SimpleNamespace(monotonic=iter([0.0, 31.0]).__next__)

    async def script(broker: Broker) -> None:
        driver.push(b"x")
        monkeypatch.setattr("multiworker.worker.broker.time", clock)
        with pytest.raises(Stale):
            await (step(broker, 1) if request_kind == "step" else broker.reconcile([]))

    speak(script, stuck_timeout=40)


def test_an_element_too_large_to_travel_is_hashed_in_pieces(driver: Driver, speak: Callable[..., Any]) -> None:
    payload = random.Random(1).randbytes(WHOLE + PIECE // 3)

    async def script(broker: Broker) -> Any:
        driver.push(payload)
        ((_, frame),) = (await step(broker, 1)).claims
        return await broker.hash_oversized(frame.split(b" ")[0].decode())

    assert speak(script) == hashlib.sha256(payload).hexdigest()


def test_the_limits_of_the_settings_are_used(driver: Driver, speak: Callable[..., Any]) -> None:
    async def script(broker: Broker) -> None:
        driver.push(b"x" * 101, b"x" * 100)
        reply = await step(broker, 5)
        assert (len(reply.claims), reply.buried) == (1, 1)
        lease = driver.client.zscore(driver.keys.workers, "c")
        assert lease is not None
        assert 0 < lease - reply.now <= 3000

    speak(script, max_payload=100, stuck_timeout=2)


def test_duties_are_done_for_others(driver: Driver, speak: Callable[..., Any]) -> None:
    async def script(broker: Broker) -> None:
        driver.push(b"x")
        driver.claim("a")
        assert not await broker.drained()
        assert await broker.recover("a", "dead", "signal 9") == Recovered(1, 0, 1, 0, 0, 0)
        assert await broker.recover("a", "dead", "signal 9") is None
        assert await broker.upkeep() == []
        assert [frame for _, frame in (await step(broker, 5)).claims] == [b"a.1.1 1 1\nx"]
        driver.done[b"x"] += 1
        await step(broker, 5, ("1.1",))
        assert await broker.drained()

    speak(script)


def test_a_taken_id_is_refused(driver: Driver, speak: Callable[..., Any]) -> None:
    async def script(broker: Broker) -> None:
        assert not await broker.register("a")
        assert await broker.register("d")

    speak(script)
