"""What becomes of tasks that fail, of bad input, and of handlers that raise anything at all."""

import asyncio
import hashlib
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from multiworker.worker.context import current
from multiworker.worker.errors import Reject, Retry
from multiworker.worker.registry import Handler
from tests.broker.driver import WHOLE, Driver, read_frame
from tests.broker.rig import consuming, run, task


def reasons(driver: Driver) -> Counter[str]:
    return Counter(letter[b"reason"].decode() for letter in driver.letters())


def test_a_failed_task_is_tried_again_and_then_dead(driver: Driver, redis_url: str) -> None:
    attempts: list[tuple[str, int, int]] = []

    async def fail(data: Any) -> None:
        attempts.append((current().id, current().attempt, current().max_attempts))
        raise ValueError("no way")

    async def main() -> None:
        driver.push(task("fail", "x"))
        async with consuming(redis_url, {"fail": Handler(fail, max_attempts=4, backoff=0.01)}) as rig:
            await rig.until_settled(4)
            await rig.drain()
            assert (rig.ledger.claimed, rig.ledger.retried, rig.ledger.dead) == (4, 3, 1)

    run(main)
    assert attempts == [("w.1.1", attempt, 4) for attempt in (1, 2, 3, 4)]
    (letter,) = driver.letters()
    assert (letter[b"reason"], letter[b"attempt"]) == (b"attempts exhausted", b"4")
    assert letter[b"payload"] == task("fail", "x")
    assert letter[b"detail"].startswith(b"Traceback")
    assert letter[b"detail"].endswith(b"ValueError: no way\n")
    driver.check()


def test_a_retry_comes_after_its_back_off(driver: Driver, redis_url: str) -> None:
    async def fail(data: Any) -> None:
        raise ValueError

    async def main() -> None:
        driver.push(task("fail"))
        async with consuming(redis_url, {"fail": Handler(fail, backoff=3600)}) as rig:
            await rig.until_settled(1)
        ((frame, due),) = driver.scheduled().items()
        assert read_frame(frame).attempt == 2
        assert -1000 <= due - time.time() * 1000 <= 3_600_000

    run(main)


def test_retry_chooses_its_delay_and_comes_back_by_itself(driver: Driver, redis_url: str) -> None:
    async def main() -> None:
        runs: list[float] = []

        async def busy(data: Any) -> None:
            runs.append(asyncio.get_running_loop().time())
            if len(runs) == 1:
                raise Retry("busy", delay=0.15)

        driver.push(task("busy"))
        async with consuming(redis_url, {"busy": busy}, interval=10) as rig:
            await rig.until_settled(2)
        assert runs[1] - runs[0] >= 0.15

    run(main)


def test_a_rejected_task_is_dead_at_once(driver: Driver, redis_url: str) -> None:
    async def reject(data: Any) -> None:
        raise Reject("spam")

    async def main() -> None:
        driver.push(task("reject"))
        async with consuming(redis_url, {"reject": reject}) as rig:
            await rig.until_settled(1)

    run(main)
    assert driver.letters()[0][b"reason"] == b"rejected"
    assert b"spam" in driver.letters()[0][b"detail"]


def test_what_is_too_large_to_travel_is_hashed(driver: Driver, redis_url: str) -> None:
    payload = random.Random(5).randbytes(3 * WHOLE)

    async def main() -> None:
        driver.push(payload)
        async with consuming(redis_url, {}) as rig:
            await rig.until_settled(1)

    run(main)
    (letter,) = driver.letters()
    assert letter[b"sha256"].decode() == hashlib.sha256(payload).hexdigest()
    assert int(letter[b"size"]) == len(payload)
    assert driver.client.exists(driver.keys.oversized("w.1.1")) == 0


def test_the_catch_all_gets_whole_tasks_and_may_spoil_them(driver: Driver, redis_url: str) -> None:
    seen: list[Any] = []

    async def everything(whole: Any) -> None:
        seen.append(dict(whole))
        whole.clear()
        if current().attempt == 1:
            raise ValueError

    async def main() -> None:
        driver.push(task("a", 1, id="x", more=[2]))
        async with consuming(redis_url, {"*": everything, "b": Handler(lambda data: None)}) as rig:
            driver.push(task("b", 3))
            await rig.until_settled(3)

    run(main)
    assert seen == [{"type": "a", "data": 1, "id": "x", "more": [2]}] * 2


class Odd(BaseException):
    def __str__(self) -> str:
        raise SystemExit


FATAL = [SystemExit(1), KeyboardInterrupt(), GeneratorExit(), asyncio.CancelledError(), StopIteration(), Odd()]


@pytest.mark.parametrize("is_async", [True, False])
@pytest.mark.parametrize("error", FATAL, ids=repr)
def test_nothing_that_a_handler_raises_ends_the_consumer(
    driver: Driver, redis_url: str, error: BaseException, *, is_async: bool
) -> None:
    async def from_async(data: Any) -> None:
        await asyncio.sleep(0)
        raise error

    def from_thread(data: Any) -> None:
        raise error

    async def main() -> None:
        driver.push(task("bad"), task("good"), task("bad"))
        handler = Handler(from_async if is_async else from_thread, max_attempts=1)
        async with consuming(redis_url, {"bad": handler, "good": lambda data: None}) as rig:
            await rig.until_settled(3)
            driver.push(task("good"))
            await rig.until_settled(4)
            assert (rig.ledger.done, rig.ledger.dead) == (2, 2)

    run(main)


def test_a_huge_error_text_is_cut_before_it_is_sent_or_logged(
    driver: Driver, redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(data: Any) -> None:
        raise ValueError("x" * 100 * 1024 * 1024)

    async def main() -> None:
        driver.push(task("fail"))
        async with consuming(redis_url, {"fail": Handler(fail, max_attempts=1)}) as rig:
            await rig.until_settled(1)

    run(main)
    assert len(driver.letters()[0][b"detail"]) <= 2048
    assert max(len(record.getMessage()) for record in caplog.records) < 5000


def compute(data: Any) -> None:
    while True:
        pass


async def sleep(data: Any) -> None:
    await asyncio.sleep(3600)


@pytest.mark.parametrize("function", [compute, sleep])
def test_a_task_that_takes_too_long_is_ended_and_its_permit_used_again(
    driver: Driver, redis_url: str, function: Callable[[Any], Any]
) -> None:
    async def main() -> None:
        driver.push(task("slow"), task("good"))
        handlers = {"slow": Handler(function, timeout=0.05, max_attempts=1), "good": Handler(lambda data: None)}
        async with consuming(redis_url, handlers, concurrency=1) as rig:
            await rig.until_settled(2)
            assert (rig.ledger.done, rig.ledger.dead) == (1, 1)

    run(main)
    assert b"HandlerTimeout: it ran longer" in driver.letters()[0][b"detail"]


def test_plain_functions_run_in_threads_side_by_side(driver: Driver, redis_url: str) -> None:
    barrier = threading.Barrier(8)
    seen: set[tuple[Any, str]] = set()

    def meet(data: Any) -> None:
        barrier.wait(30)
        seen.add((data, current().id))

    async def main() -> None:
        driver.push(*[task("meet", n) for n in range(8)])
        async with consuming(redis_url, {"meet": meet}, concurrency=8) as rig:
            await rig.until_settled(8)

    run(main)
    assert seen == {(n, f"w.1.{n + 1}") for n in range(8)}
