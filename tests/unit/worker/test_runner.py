"""Runs that were claimed together begin in one asyncio task, yet each is apart from the others."""

import asyncio
import contextvars
import itertools
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from multiworker.worker.context import current
from multiworker.worker.executor import Executor, Run
from multiworker.worker.outcome import DONE, GIVEN_BACK, Outcome, RetryIn
from multiworker.worker.registry import Handler, Registry
from multiworker.worker.runner import Runner
from multiworker.worker.settings import Settings

MARK: contextvars.ContextVar[str] = contextvars.ContextVar("mark", default="clean")


class Rig:
    """A runner, and what came of its runs in the order in which they ended."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.executor = Executor(Registry({"t": Handler(function)}), Settings())
        self.runner = Runner(self.executor, self._end)
        self.ended: list[tuple[int, Outcome]] = []
        self.runs: list[Run] = []
        self.second = asyncio.Event()
        self._all_ended = asyncio.Event()

    def start(self, count: int) -> None:
        for n in range(count):
            run = self.executor.accept(f"1.{n}", b'w.1.%d 1 0\n{"type":"t","data":%d}' % (n, n), "q")
            assert isinstance(run, Run)
            self.runs.append(run)
        self.runner.start(list(self.runs))

    async def finish(self) -> dict[int, Outcome]:
        await asyncio.wait_for(self._all_ended.wait(), 30)
        return dict(self.ended)

    def _end(self, run: Run, outcome: Outcome) -> float:
        self.ended.append((int(run.delivery.partition(".")[2]), outcome))
        if len(self.ended) == 2:
            self.second.set()
        if len(self.ended) == len(self.runs):
            self._all_ended.set()
        return time.monotonic()


def test_handlers_that_do_not_wait_run_in_the_order_of_the_queue() -> None:
    order: list[int] = []

    async def note(n: int) -> None:
        order.append(n)

    async def main() -> dict[int, Outcome]:
        rig = Rig(note)
        rig.start(100)
        return await rig.finish()

    assert asyncio.run(main()) == dict.fromkeys(range(100), DONE)
    assert order == list(range(100))


@pytest.mark.parametrize("which", [0, 1, 5, 9])
def test_one_that_waits_holds_up_nobody(which: int) -> None:
    async def main() -> list[int]:
        others_done = asyncio.Event()

        async def work(n: int) -> None:
            if n == which:
                await others_done.wait()
            elif len(rig.ended) == 8:
                others_done.set()

        rig = Rig(work)
        rig.start(10)
        await rig.finish()
        return [n for n, _ in rig.ended]

    assert asyncio.run(main())[-1] == which


def test_all_run_at_once_if_all_wait() -> None:
    async def main() -> dict[int, Outcome]:
        barrier = asyncio.Barrier(50)

        async def meet(n: int) -> None:
            await barrier.wait()

        rig = Rig(meet)
        rig.start(50)
        return await rig.finish()

    assert asyncio.run(main()) == dict.fromkeys(range(50), DONE)


def test_no_run_sees_what_another_set_in_its_context() -> None:
    seen: list[str] = []

    async def leave_a_trace(n: int) -> None:
        seen.append(MARK.get())
        MARK.set(f"trace of {n}")
        if n % 3 == 0:
            await asyncio.sleep(0)
        seen.append(MARK.get())

    async def main() -> None:
        rig = Rig(leave_a_trace)
        rig.start(20)
        await rig.finish()

    asyncio.run(main())
    assert seen.count("clean") == 20
    assert {f"trace of {n}" for n in range(20)} < set(seen)


def test_nor_what_one_set_that_did_not_wait() -> None:
    seen: list[str] = []

    async def leave_a_trace(n: int) -> None:
        seen.append(MARK.get())
        MARK.set(f"trace of {n}")

    async def main() -> None:
        rig = Rig(leave_a_trace)
        rig.start(10)
        await rig.finish()

    asyncio.run(main())
    assert seen == ["clean"] * 10


def test_each_run_knows_its_own_task_and_so_do_its_subtasks() -> None:
    seen: list[tuple[int, str]] = []

    async def note(n: int) -> None:
        seen.append((n, current().id))

    async def with_subtask(n: int) -> None:
        await note(n)
        if n % 2:
            await asyncio.gather(note(n), asyncio.create_task(note(n)))
            await note(n)

    async def main() -> None:
        rig = Rig(with_subtask)
        rig.start(20)
        await rig.finish()

    asyncio.run(main())
    assert {id_ for n, id_ in seen} == {f"w.1.{n}" for n in range(20)}
    assert all(id_ == f"w.1.{n}" for n, id_ in seen)


@pytest.mark.parametrize(
    "error", [ValueError("no"), SystemExit(1), KeyboardInterrupt(), GeneratorExit(), asyncio.CancelledError()], ids=repr
)
def test_one_that_fails_takes_nobody_with_it(error: BaseException) -> None:
    async def fail(n: int) -> None:
        if n % 2:
            await asyncio.sleep(0)
        if n % 4 < 2:
            raise error

    async def main() -> dict[int, Outcome]:
        rig = Rig(fail)
        rig.start(20)
        return await rig.finish()

    outcomes = asyncio.run(main())
    assert {n for n, outcome in outcomes.items() if isinstance(outcome, RetryIn)} == {n for n in range(20) if n % 4 < 2}
    assert {n for n, outcome in outcomes.items() if outcome is DONE} == {n for n in range(20) if n % 4 >= 2}


@pytest.mark.parametrize("error", [GeneratorExit(), StopIteration(), asyncio.CancelledError(), ValueError()], ids=repr)
@pytest.mark.parametrize("where", ["thread", "future"])
def test_what_comes_out_of_a_thread_or_future_is_a_failure_like_any_other(error: BaseException, where: str) -> None:
    def in_thread(n: int) -> None:
        raise error

    async def from_future(n: int) -> None:
        future = asyncio.get_running_loop().create_future()
        future.set_exception(RuntimeError() if isinstance(error, StopIteration) else error)
        await asyncio.sleep(n % 2 / 1000)
        await asyncio.gather(future)

    async def main() -> dict[int, Outcome]:
        rig = Rig(in_thread if where == "thread" else from_future)
        rig.start(6)
        return await rig.finish()

    outcomes = asyncio.run(main())
    assert len(outcomes) == 6
    assert all(isinstance(outcome, RetryIn) for outcome in outcomes.values())


def test_one_that_cancels_its_own_asyncio_task_hits_nobody_else() -> None:
    async def cancel_self(n: int) -> None:
        task = asyncio.current_task()
        if n == 3 and task:
            task.cancel()

    async def main() -> dict[int, Outcome]:
        rig = Rig(cancel_self)
        rig.start(10)
        return await rig.finish()

    assert asyncio.run(main()) == dict.fromkeys(range(10), DONE)


def test_one_that_is_cancelled_is_the_only_one() -> None:
    async def main() -> dict[int, Outcome]:
        started = itertools.count(1)
        all_started, go = asyncio.Event(), asyncio.Event()

        async def wait(n: int) -> None:
            if next(started) == 10:
                all_started.set()
            await go.wait()

        rig = Rig(wait)
        rig.start(10)
        await all_started.wait()
        for which in (0, 4):
            task = rig.runs[which].task
            assert task
            task.cancel()
        await rig.second.wait()
        go.set()
        return await rig.finish()

    outcomes = asyncio.run(main())
    assert {n for n, outcome in outcomes.items() if outcome is not DONE} == {0, 4}


def test_those_that_have_not_begun_when_the_child_leaves_never_begin() -> None:
    began: list[int] = []

    async def note(n: int) -> None:
        began.append(n)
        await asyncio.sleep(0)

    async def main() -> dict[int, Outcome]:
        rig = Rig(note)
        rig.start(10)
        rig.executor.leaving = True
        return await rig.finish()

    outcomes = asyncio.run(main())
    assert began == [0][: sys.version_info >= (3, 12)]  # which begins the first at once
    assert {n: outcomes[n] for n in range(len(began), 10)} == dict.fromkeys(range(len(began), 10), GIVEN_BACK)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="tasks begin in the loop's next round")
def test_those_that_do_not_wait_have_ended_when_they_are_started() -> None:
    ended: list[int] = []

    async def note(n: int) -> None:
        ended.append(n)

    async def main() -> list[int]:
        rig = Rig(note)
        rig.start(3)
        at_once = ended[:]
        await rig.finish()
        return at_once

    assert asyncio.run(main()) == [0, 1, 2]


def test_nothing_claimed_starts_nothing() -> None:
    async def main() -> int:
        rig = Rig(lambda data: None)
        rig.start(0)
        return len(asyncio.all_tasks())

    assert asyncio.run(main()) == 1
