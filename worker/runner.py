"""Starts runs, each apart from the others.

A run has an asyncio task of its own; but to make one costs more than many a short handler. So runs that were claimed
together begin in one task, one after the other, for as long as each ends without having waited and leaves no trace
there. As soon as one waits, all that have not begun get tasks of their own.
"""

import asyncio
import contextvars
from collections.abc import Callable
from time import monotonic
from typing import Any

from multiworker.worker.context import CURRENT
from multiworker.worker.executor import Executor, Run
from multiworker.worker.outcome import Outcome

_begin_at_once: Any = getattr(asyncio, "eager_task_factory", None)
"""Python 3.12 and later: begins a task right here, not in the loop's next round, and queues none that does not wait."""


class Runner:
    """Runs tasks and reports how they ended.

    Args:
        executor: turns a run into its outcome.
        ended: called with each run and its outcome; returns the monotonic seconds of its end.
    """

    def __init__(self, executor: Executor, ended: Callable[[Run, Outcome], float]) -> None:
        self._executor = executor
        self._ended = ended
        self._loop = asyncio.get_running_loop()
        self._shared: set[asyncio.Task[None]] = set()

    def start(self, runs: list[Run]) -> None:
        """Start runs, in this order; from Python 3.12 on, those that do not wait have ended when this returns.

        Args:
            runs: taken over by the runner.
        """
        if not runs:
            return
        runs.reverse()
        together = self._together(runs)
        task = _begin_at_once(self._loop, together) if _begin_at_once else self._loop.create_task(together)
        if not task.done():
            self._shared.add(task)
            task.add_done_callback(self._shared.discard)

    async def _together(self, runs: list[Run]) -> None:
        execute, ended, context = self._executor.execute, self._ended, contextvars.copy_context
        task = asyncio.current_task(self._loop)
        clean = context()
        spread = self._loop.call_soon(self._spread, runs, clean)  # comes to its turn if this task waits
        now = monotonic()
        while runs:
            run = runs.pop()
            run.task = task
            run.started = now
            CURRENT.set(run)
            before = context()
            try:
                outcome = await execute(run, ended)
            except GeneratorExit as error:  # thrown by a future, it closes all coroutines on its way but this one
                outcome = self._executor.failed(run, error)
            now = ended(run, outcome)
            if context() != before or (task and task.cancelling()):
                self._spread(runs, clean)  # this one has left a trace that the others must not see
        spread.cancel()

    def _spread(self, runs: list[Run], clean: contextvars.Context) -> None:
        while runs:
            run = runs.pop()
            run.task = self._loop.create_task(self._apart(run), context=clean.copy())

    async def _apart(self, run: Run) -> None:
        run.started = monotonic()
        CURRENT.set(run)
        try:
            outcome = await self._executor.execute(run, self._ended)
        except GeneratorExit as error:  # as above
            outcome = self._executor.failed(run, error)
        self._ended(run, outcome)
        run.task = None  # or the task, its context and the run, and so the payload, would keep each other
