"""What the handlers of a chaos run noted, and the verdict on it. It is a plain file: nothing here asks Redis."""

import os
import struct
import time
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

LEDGER = "CHAOS_LEDGER"
"""Environment variable with the ledger's path."""
RECORD = struct.Struct("<IIIIQQ")
"""Event, task, pid, run of that pid, attempt, monotonic ns: 32 bytes, so that none lies on two pages."""
ACK_TIME = 0.5
"""Seconds that an acknowledgement may still be on its way after the task has ended, on a busy machine."""
EVERYBODY: frozenset[int] = frozenset()
"""The processes of a fault that concerns all."""


class Event(IntEnum):
    """What is noted."""

    START = 1
    END = 2
    FATAL = 3
    """The handler is about to end its process."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a task; times are monotonic ns, which are the same in all processes."""

    task: int
    pid: int
    attempt: int
    start: int
    end: int | None


class Fault(NamedTuple):
    """What was done to processes between two times, and may cause that tasks run again.

    Args:
        kind: for people.
        pids: whom it concerned; EVERYBODY if Redis itself lost something.
        before: monotonic ns.
        after: monotonic ns.
        worker: the id in Redis of the only one it concerned.
        deadly: they ended at `before`; otherwise their runs may have gone on.
        reach: seconds before it in which what had ended may still have been unknown to Redis.
    """

    kind: str
    pids: frozenset[int]
    before: int
    after: int
    worker: str = ""
    deadly: bool = True
    reach: float = ACK_TIME

    def explains(self, first: "Run", again: "Run") -> bool:
        """Tell whether a task's run was in flight at the fault, and the next one began after it."""
        in_flight = first.start <= self.after and (first.end is None or first.end >= self.before - self.reach * 1e9)
        return in_flight and again.start >= self.before


def kill(pid: int, worker: str, before: int, after: int) -> Fault:
    """Return the fault of a SIGKILL that was sent between two times."""
    return Fault("kill", frozenset({pid}), before, after, worker)


class Restart(NamedTuple):
    """A task that ran again because of a fault."""

    fault: Fault
    first: Run
    again: Run

    @property
    def seconds(self) -> float:
        """From the fault to the new start."""
        return (self.again.start - self.fault.before) / 1e9

    @property
    def unacknowledged(self) -> float | None:
        """Seconds before the fault at which the first run had ended; None if it was cut off."""
        return None if self.first.end is None else (self.fault.before - self.first.end) / 1e9


@dataclass
class Verdict:
    """What is wrong, and what is explained."""

    lost: list[int] = field(default_factory=list)
    """Tasks of which no run came to its end."""
    strange: list[Run] = field(default_factory=list)
    """Runs of tasks that nobody pushed, or with another attempt than the first: a crash uses up none."""
    unfinished: list[Run] = field(default_factory=list)
    """Runs that never ended though nothing was done to their process."""
    unexplained: list[Run] = field(default_factory=list)
    """Runs of a task that had run before and was not in flight at a fault."""
    overlapping: list[Run] = field(default_factory=list)
    """Runs that began while another run of the same task was still alive, without a fault that allows it."""
    beside: list[Run] = field(default_factory=list)
    """Runs beside another one that was thought dead: its process was stopped, or Redis forgot it."""
    restarts: list[Restart] = field(default_factory=list)

    @property
    def crashes(self) -> Counter[int]:
        """How many tasks were in so many faults, as far as they had started."""
        return Counter(Counter(restart.first.task for restart in self.restarts).values())


class Faults:
    """All faults of a run, by process.

    Args:
        faults: in any order.
    """

    def __init__(self, faults: Iterable[Fault]) -> None:
        self._of_pid: dict[int, list[Fault]] = defaultdict(list)
        self._of_all: list[Fault] = []
        for fault in faults:
            for pid in fault.pids:
                self._of_pid[pid].append(fault)
            if not fault.pids:
                self._of_all.append(fault)

    def of(self, pid: int) -> list[Fault]:
        """Return the faults that concerned a process."""
        return self._of_pid.get(pid, []) + self._of_all

    def cut_off(self, run: Run) -> bool:
        """Tell whether a run without an end may have none."""
        return any(run.start <= fault.after for fault in self.of(run.pid))

    def death(self, run: Run) -> float:
        """Return when a run was over, in monotonic ns."""
        deaths = [fault.before for fault in self.of(run.pid) if fault.deadly and fault.pids]
        return min([run.end if run.end is not None else float("inf"), *deaths])


def note(fd: int, event: Event, task: int, run: int, attempt: int) -> None:
    """Append one record in one write(2), which no kill can cut in two.

    Args:
        fd: opened with O_APPEND.
        event: what happens.
        task: its number.
        run: the how-manieth of this process.
        attempt: as the worker counts it.
    """
    os.write(fd, RECORD.pack(event, task, os.getpid(), run, attempt, time.monotonic_ns()))


def read(path: Path) -> list[Run]:
    """Read all runs, by their start."""
    starts: dict[tuple[int, int], Run] = {}
    for event, task, pid, run, attempt, at in _records(path):
        if event == Event.START:
            starts[pid, run] = Run(task, pid, attempt, at, None)
        elif event == Event.END:
            begun = starts[pid, run]
            starts[pid, run] = Run(begun.task, pid, attempt, begun.start, at)
    return sorted(starts.values(), key=lambda run: run.start)


def read_fatal(path: Path, last: int) -> list[Fault]:
    """Read the deaths that handlers brought about themselves.

    Args:
        path: the ledger.
        last: ns from a handler's note to the end of its process, at most; nothing else ran there meanwhile.
    """
    return [
        Fault("own death", frozenset({pid}), at, at + last)
        for event, _, pid, _, _, at in _records(path)
        if event == Event.FATAL
    ]


def _records(path: Path) -> list[tuple[int, ...]]:
    return list(RECORD.iter_unpack(path.read_bytes())) if path.exists() else []


def check(
    runs: Iterable[Run], faults: Iterable[Fault], tasks: Collection[int], unconfirmed: Collection[int] = ()
) -> Verdict:
    """Hold what ran against what was pushed and what was done.

    Args:
        runs: by their start.
        faults: all of them.
        tasks: the numbers whose push was acknowledged.
        unconfirmed: the numbers whose push may have come through.
    """
    verdict, known = Verdict(), Faults(faults)
    of_task: dict[int, list[Run]] = defaultdict(list)
    for run in runs:
        of_task[run.task].append(run)
        if run.attempt != 1:
            verdict.strange.append(run)
        if run.end is None and not known.cut_off(run):
            verdict.unfinished.append(run)
    expected, possible = set(tasks), set(unconfirmed)
    for task, them in of_task.items():
        if task not in expected and task not in possible:
            verdict.strange += them
    verdict.lost = sorted(task for task in expected if not any(run.end is not None for run in of_task[task]))
    for them in of_task.values():
        for first, again in pairwise(them):
            _judge_again(verdict, known, first, again)
    return verdict


def _judge_again(verdict: Verdict, known: Faults, first: Run, again: Run) -> None:
    cause = next((fault for fault in known.of(first.pid) if fault.explains(first, again)), None)
    if again.start < known.death(first):
        (verdict.beside if cause and not cause.deadly else verdict.overlapping).append(again)
    if cause:
        verdict.restarts.append(Restart(cause, first, again))
    else:
        verdict.unexplained.append(again)


def longest_silence(runs: Sequence[Run], faults: Sequence[Fault]) -> float:
    """Return the longest time in which a living child began no task, although there were tasks left.

    Args:
        runs: by their start.
        faults: all of them; a child's time ends at its death, or with the last start of all.

    Returns:
        Seconds.
    """
    if not runs:
        return 0.0
    ends = {pid: fault.before for fault in faults if fault.deadly for pid in fault.pids}
    starts: dict[int, list[int]] = defaultdict(list)
    for run in runs:
        starts[run.pid].append(run.start)
    last = runs[-1].start
    lives = [[*times, max(times[-1], min(last, ends.get(pid, last)))] for pid, times in starts.items()]
    return max(later - earlier for life in lives for earlier, later in pairwise(life)) / 1e9
