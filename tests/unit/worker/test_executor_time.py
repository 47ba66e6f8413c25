"""Timeouts, threads, and what happens to tasks when the child leaves."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from multiworker.worker.context import CURRENT, current
from multiworker.worker.errors import HandlerTimeout
from multiworker.worker.executor import Executor, Run
from multiworker.worker.outcome import DONE, GIVEN_BACK, Outcome, RetryIn
from multiworker.worker.registry import Handler, Registry
from multiworker.worker.settings import Settings
from tests.executing import TASK, execute, raiser, run_handler
from tests.waiting import until


async def sleep_long(data: Any) -> None:
    await asyncio.sleep(3600)


def sleep_in_steps(data: Any) -> None:
    while True:
        time.sleep(0.01)


def compute(data: Any) -> None:
    while True:
        pass


def hand_on(data: Any) -> Coroutine[Any, Any, None]:
    return sleep_long(data)


@pytest.mark.parametrize("function", [sleep_long, sleep_in_steps, compute, hand_on])
@pytest.mark.parametrize("from_settings", [True, False])
def test_a_run_ends_at_its_timeout(function: Callable[[Any], Any], *, from_settings: bool) -> None:
    options: dict[str, Any] = {"settings": Settings(timeout=0.05)} if from_settings else {"timeout": 0.05}
    outcome = run_handler(function, **options)
    assert isinstance(outcome, RetryIn)
    assert outcome.error.startswith("HandlerTimeout: it ran longer than its timeout")


def test_the_handlers_own_timeout_wins() -> None:
    async def wait(data: Any) -> None:
        await asyncio.sleep(0.05)

    assert run_handler(wait, settings=Settings(timeout=0.001), timeout=60) is DONE


def test_a_timeout_error_of_the_handlers_own_is_not_the_deadline() -> None:
    outcome = run_handler(raiser(lambda: TimeoutError("mine"), is_async=True), timeout=60)
    assert isinstance(outcome, RetryIn)
    assert outcome.error == "TimeoutError: mine"


def test_a_handler_may_clean_up_at_its_timeout() -> None:
    cleaned: list[str] = []

    async def wait(data: Any) -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(0)
            cleaned.append("async")

    def work(data: Any) -> None:
        try:
            compute(data)
        finally:
            cleaned.append("sync")

    run_handler(wait, timeout=0.01)
    run_handler(work, timeout=0.01)
    assert cleaned == ["async", "sync"]


def test_a_coroutine_from_a_plain_function_is_run() -> None:
    seen: list[Any] = []

    async def real(data: Any) -> None:
        await asyncio.sleep(0)
        seen.append((data, current().id, threading.current_thread() is threading.main_thread()))

    assert run_handler(lambda data: real(data or None)) is DONE
    assert seen == [({"to": "x"}, "w.1.1", True)]


def test_a_plain_handler_runs_in_a_thread_and_knows_its_task() -> None:
    seen: list[Any] = []

    def see(data: Any) -> None:
        seen.append((current().id, threading.current_thread().name.startswith("handler")))

    assert run_handler(see) is DONE
    assert seen == [("w.1.1", True)]


def together(function: Callable[[Any], Any], count: int, **more: Any) -> list[Outcome]:
    """Run a function so many times at once."""

    async def main() -> list[Outcome]:
        executor = Executor(Registry({"email": Handler(function, **more)}), Settings(concurrency=count))
        runs = [
            executor.accept(f"1.{n}", b'w.1.%d 1 0\n{"type":"email","data":%d}' % (n, n), "q") for n in range(count)
        ]
        tasks = [asyncio.create_task(execute(executor, run)) for run in runs if isinstance(run, Run)]
        outcomes = await asyncio.gather(*tasks)
        assert executor.busy_threads == 0
        return list(outcomes)

    return asyncio.run(main())


def test_as_many_plain_handlers_run_at_once_as_there_are_permits() -> None:
    barrier = threading.Barrier(16)

    def meet(data: Any) -> None:
        barrier.wait(30)

    assert together(meet, 16) == [DONE] * 16


def test_each_of_many_handlers_sees_its_own_task() -> None:
    seen: set[tuple[Any, str]] = set()

    def see(data: Any) -> None:
        seen.add((data, current().id))

    async def asee(data: Any) -> None:
        await asyncio.sleep(0)
        seen.add((data, current().id))

    together(see, 40)
    assert seen == {(n, f"w.1.{n}") for n in range(40)}
    seen.clear()
    together(asee, 40)
    assert seen == {(n, f"w.1.{n}") for n in range(40)}
    assert CURRENT.get() is None


def test_a_timeout_hits_the_function_it_is_for_and_never_the_next_one_in_its_thread() -> None:
    def about_as_long_as_its_timeout(data: Any) -> None:
        end = time.perf_counter() + 0.005 + (data % 10) / 10_000
        while time.perf_counter() < end:
            pass

    outcomes = together(about_as_long_as_its_timeout, 300, timeout=0.0055)
    assert {type(outcome) for outcome in outcomes} <= {type(DONE), RetryIn}
    assert together(lambda data: None, 300) == [DONE] * 300


def test_what_is_cancelled_because_the_child_leaves_is_given_back() -> None:
    async def main() -> list[Outcome]:
        started = asyncio.Event()
        release = threading.Event()

        async def wait(data: Any) -> None:
            started.set()
            await asyncio.sleep(3600)

        async def swallow(data: Any) -> None:
            started.set()
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                return

        def block(data: Any) -> None:
            loop.call_soon_threadsafe(started.set)
            release.wait(60)

        loop = asyncio.get_running_loop()
        outcomes = []
        for function in (wait, swallow, block):
            executor = Executor(Registry({"email": Handler(function)}), Settings())
            started.clear()
            run = executor.accept("1.1", TASK, "q")
            assert isinstance(run, Run)
            task = asyncio.create_task(execute(executor, run))
            await started.wait()
            executor.leaving = True
            task.cancel()
            outcomes.append(await task)
        assert executor.busy_threads == 1, "its thread runs on, and the child must know"
        release.set()
        await until(lambda: executor.busy_threads == 0)
        return outcomes

    assert asyncio.run(main()) == [GIVEN_BACK, DONE, GIVEN_BACK]


def test_nothing_begins_once_the_child_leaves() -> None:
    async def main() -> Outcome:
        executor = Executor(Registry({"email": Handler(lambda data: pytest.fail("it ran"))}), Settings())
        executor.leaving = True
        run = executor.accept("1.1", TASK, "q")
        assert isinstance(run, Run)
        return await execute(executor, run)

    assert asyncio.run(main()) is GIVEN_BACK


@pytest.mark.parametrize("is_async", [True, False])
def test_a_handler_that_does_not_end_after_its_timeout_has_failed(*, is_async: bool) -> None:
    release = threading.Event()
    gone: list[tuple[Run, Outcome]] = []

    async def swallow(_data: Any) -> None:
        while not release.is_set():
            try:
                await asyncio.sleep(0.005)
            except asyncio.CancelledError:
                continue

    def swallow_in_thread(_data: Any) -> None:
        while not release.is_set():
            with contextlib.suppress(HandlerTimeout):
                time.sleep(0.005)

    async def main() -> None:
        function = swallow if is_async else swallow_in_thread
        executor = Executor(Registry({"email": Handler(function, timeout=0.01)}), Settings(grace=0.01))
        run = executor.accept("1.1", TASK, "q")
        assert isinstance(run, Run)
        task = asyncio.create_task(execute(executor, run, lambda *what: gone.append(what)))
        # when it goes on long after its timeout, then its outcome is known, once, while it runs
        await until(lambda: gone)
        assert executor.runaways == 1
        assert not task.done()
        ((one, outcome),) = gone
        assert one is run
        assert isinstance(outcome, RetryIn)
        assert "HandlerTimeout: it went on for 0.01 s after its timeout of 0.01 s" in outcome.error
        release.set()
        await task

    asyncio.run(main())
