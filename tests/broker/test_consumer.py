"""The main loop on a real Redis: what comes out of tasks, in which order, and how many at once."""

import asyncio
import hashlib
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from multiworker.worker.context import current
from multiworker.worker.errors import Reason, Reject, Retry
from multiworker.worker.registry import Handler
from tests.broker.driver import WHOLE, Driver, read_frame
from tests.broker.rig import consuming, run
from tests.waiting import until


def task(kind: str, data: object = None, **more: object) -> bytes:
    return json.dumps({"type": kind, "data": data} | more).encode()


def reasons(driver: Driver) -> Counter[str]:
    return Counter(letter[b"reason"].decode() for letter in driver.letters())


class Gate:
    """Handlers that wait here until the test lets them go on; it knows who is inside."""

    def __init__(self) -> None:
        self.entered: list[Any] = []
        self.inside: list[Any] = []
        self.most = 0
        self._open = asyncio.Event()

    async def __call__(self, data: Any) -> None:
        self.entered.append(data)
        self.inside.append(data)
        self.most = max(self.most, len(self.inside))
        try:
            await self._open.wait()
        finally:
            self.inside.remove(data)

    def open(self) -> None:
        self._open.set()


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


BAD = {
    b"not json": Reason.NOT_JSON,
    b"\xff\xfe": Reason.NOT_UTF8,
    b"[1]": Reason.NOT_OBJECT,
    b"{}": Reason.NO_TYPE,
    b'{"type":["good"]}': Reason.BAD_TYPE,
    b'{"type":"a\\nb"}': Reason.BAD_TYPE,
    b'{"type":"good","type":"good"}': Reason.DUPLICATE_KEY,
    b'{"type":"good","data":' + b"[" * 40 + b"]" * 40 + b"}": Reason.TOO_DEEP,
    b'{"type":"good","data":NaN}': Reason.NOT_JSON,
    b'{"type":"nobody"}': Reason.NO_HANDLER,
    b'{"type":"good","data":"' + b"x" * 2000 + b'"}': Reason.TOO_LARGE,
    b"x" * (WHOLE + 1): Reason.TOO_LARGE,
    b"w.1.1 1 0\n{}": Reason.NOT_JSON,
    b"\n": Reason.NOT_JSON,
}


def test_bad_input_goes_to_the_dead_letters_untouched_and_good_tasks_run(
    driver: Driver, redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[Any] = []

    async def good(data: Any) -> None:
        seen.append(data)

    async def main() -> None:
        for n, payload in enumerate(BAD):
            driver.push(payload, b"", task("good", n))
        async with consuming(redis_url, {"good": good}, max_payload=1000, concurrency=4) as rig:
            await rig.until_settled(2 * len(BAD))
            await rig.drain()
            assert (rig.ledger.done, rig.ledger.dead) == (len(BAD), len(BAD))

    run(main)
    driver.done.update(task("good", n) for n in range(len(BAD)))
    driver.check()
    assert sorted(seen) == list(range(len(BAD)))
    assert reasons(driver) == Counter(reason.value for reason in BAD.values())
    found = {letter[b"payload"]: letter[b"reason"].decode() for letter in driver.letters()}
    assert found == {(key if len(key) <= WHOLE else key[:4096]): reason.value for key, reason in BAD.items()}
    assert all("\n" not in record.getMessage() for record in caplog.records)
    assert not any(record.exc_info for record in caplog.records)


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
            await asyncio.wait(rig.consumer.abandon())
            await rig.drain()
            assert rig.consumer.held == 3
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


def test_burst_on_an_empty_queue_ends_at_once(driver: Driver, redis_url: str) -> None:
    async def main() -> None:
        async with consuming(redis_url, {}, burst=True, queue=("jobs", "other")) as rig:
            assert rig.running
            await rig.running
            assert rig.consumer.finished

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
