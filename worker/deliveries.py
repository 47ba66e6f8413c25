"""What a child holds: it books what was claimed, has it run, and notes for the next step how it ended."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from time import monotonic

from multiworker.worker.burial import Burials, log_failure
from multiworker.worker.executor import Executor, Run
from multiworker.worker.lane import Lane
from multiworker.worker.outcome import DONE, GIVEN_BACK, Dead, Outcome, RetryIn
from multiworker.worker.runner import Runner

QUICK = 0.001
"""Seconds below which runs are not told apart by how long they took."""


class Deliveries:
    """The deliveries of all lanes, from claim to outcome.

    Args:
        lanes: one for each queue.
        executor: runs the tasks.
        wake: called when there is something for the next step.
    """

    def __init__(self, lanes: Sequence[Lane], executor: Executor, wake: Callable[[], None]) -> None:
        self._lanes = lanes
        self._by_queue = {lane.broker.queue: lane for lane in lanes}
        self._executor = executor
        self._wake = wake
        self._runner = Runner(executor, self._ended)
        self._burials = Burials(wake)
        self.alone: Run | None = None
        """A suspect that runs: nothing is to run beside it."""

    @property
    def held(self) -> int:
        """Deliveries that are not settled in Redis yet."""
        return sum([lane.held for lane in self._lanes])

    def held_beside(self, lane: Lane) -> int:
        """How many of them are of other lanes."""
        return sum([other.held for other in self._lanes if other is not lane])

    @property
    def running(self) -> int:
        """Tasks that have not ended."""
        return sum([len(lane.running) for lane in self._lanes])

    @property
    def are_abandoned(self) -> bool:
        """Nothing is held but what is to be given back."""
        return self.held == sum([len(lane.abandoned) for lane in self._lanes])

    def accept(self, lane: Lane, claims: Iterable[tuple[str, bytes]]) -> list[Run]:
        """Book what was claimed.

        Args:
            lane: of its queue.
            claims: delivery id and frame of each.

        Returns:
            What of it can run, for start(); the rest is on its way to the dead letters.
        """
        runs: list[Run] = []
        accept, queue, running = self._executor.accept, lane.broker.queue, lane.running
        for delivery, raw in claims:
            run = accept(delivery, raw, queue)
            if type(run) is Run:
                if run.alone:
                    self.alone = run
                running[delivery] = run
                runs.append(run)
            elif type(run) is tuple:
                self._burials.bury(lane, delivery, *run)
        return runs

    def start(self, runs: list[Run]) -> None:
        """Start what accept() returned, and takes over, in this order."""
        self._runner.start(runs)

    def abandon(self) -> list[asyncio.Task[None]]:
        """Cancel every running task; each stays held, to be given back.

        Returns:
            The asyncio tasks, to wait for their end.
        """
        self._executor.leaving = True
        tasks = [run.task for lane in self._lanes for run in lane.running.values() if run.task]
        for task in tasks:
            task.cancel()
        return tasks

    def _ended(self, run: Run, outcome: Outcome) -> float:
        """Have the next step settle a run.

        Returns:
            Monotonic seconds of its end.
        """
        now = monotonic()
        if run is self.alone:
            self.alone = None
            self._wake()
        lane = self._by_queue[run.queue]
        if lane.running.pop(run.delivery, None) is None:
            return now  # it was dropped while it ran: it is not ours to settle
        took = now - run.started
        if took < QUICK:  # few instructions where they matter
            lane.tally.quick += 1
        else:
            lane.tally.latencies[int(1000 * took).bit_length()] += 1
        if outcome is DONE:
            lane.acks.append(run.delivery)
        elif outcome is GIVEN_BACK:
            lane.abandoned.append(run.delivery)
        elif isinstance(outcome, RetryIn | Dead):
            lane.settle(run.delivery, outcome)
            log_failure(run.describe(), outcome)
        self._wake()
        return now
