"""What the handlers of a chaos run noted, and the verdict on it. It is a plain file: nothing here asks Redis."""

import os
import struct
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
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


class Event(IntEnum):
    """What is noted."""

    START = 1
    END = 2


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a task; times are monotonic ns, which are the same in all processes."""

    task: int
    pid: int
    attempt: int
    start: int
    end: int | None


class Kill(NamedTuple):
    """A SIGKILL: sent between two times; worker is the victim's id in Redis."""

    pid: int
    worker: str
    before: int
    after: int


class Restart(NamedTuple):
    """A task that ran again because of a kill."""

    kill: Kill
    first: Run
    again: Run

    @property
    def seconds(self) -> float:
        """From the kill to the new start."""
        return (self.again.start - self.kill.before) / 1e9

    @property
    def unacknowledged(self) -> float | None:
        """Seconds before the kill at which the first run had ended; None if it was cut off."""
        return None if self.first.end is None else (self.kill.before - self.first.end) / 1e9


@dataclass
class Verdict:
    """What is wrong, and what is explained."""

    lost: list[int] = field(default_factory=list)
    """Tasks of which no run came to its end."""
    strange: list[Run] = field(default_factory=list)
    """Runs of tasks that nobody pushed, or with another attempt than the first: a crash uses up none."""
    unfinished: list[Run] = field(default_factory=list)
    """Runs that never ended though their process was not killed."""
    unexplained: list[Run] = field(default_factory=list)
    """Runs of a task that had run before and was not in flight at a kill."""
    overlapping: list[Run] = field(default_factory=list)
    """Runs that began while another run of the same task was still alive."""
    restarts: list[Restart] = field(default_factory=list)

    @property
    def crashes(self) -> Counter[int]:
        """How many tasks were in so many crashes, as far as they had started."""
        return Counter(Counter(restart.first.task for restart in self.restarts).values())


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
    for event, task, pid, run, attempt, at in RECORD.iter_unpack(path.read_bytes()):
        if event == Event.START:
            starts[pid, run] = Run(task, pid, attempt, at, None)
        else:
            begun = starts[pid, run]
            starts[pid, run] = Run(begun.task, pid, attempt, begun.start, at)
    return sorted(starts.values(), key=lambda run: run.start)


def check(runs: Iterable[Run], kills: Sequence[Kill], tasks: Iterable[int]) -> Verdict:
    """Hold what ran against what was pushed and who was killed.

    Args:
        runs: by their start.
        kills: all of them.
        tasks: the numbers that were pushed.
    """
    verdict = Verdict()
    killed = {kill.pid: kill for kill in kills}
    of_task: dict[int, list[Run]] = defaultdict(list)
    for run in runs:
        of_task[run.task].append(run)
        if run.attempt != 1:
            verdict.strange.append(run)
        if run.end is None and run.pid not in killed:
            verdict.unfinished.append(run)
    expected = set(tasks)
    verdict.strange += [run for task, them in of_task.items() if task not in expected for run in them]
    verdict.lost = sorted(task for task in expected if not any(run.end is not None for run in of_task[task]))
    for them in of_task.values():
        for first, again in pairwise(them):
            _judge_again(verdict, killed.get(first.pid), first, again)
    return verdict


def _judge_again(verdict: Verdict, kill: Kill | None, first: Run, again: Run) -> None:
    if first.end is not None:
        dead_at: float = first.end
    else:
        dead_at = kill.before if kill else float("inf")
    if again.start < dead_at:
        verdict.overlapping.append(again)
    in_flight = kill and first.start <= kill.after and (first.end is None or first.end >= kill.before - ACK_TIME * 1e9)
    if kill and in_flight and again.start >= kill.before:
        verdict.restarts.append(Restart(kill, first, again))
    else:
        verdict.unexplained.append(again)


def longest_silence(runs: Sequence[Run], kills: Sequence[Kill]) -> float:
    """Return the longest time in which a living child began no task, although there were tasks left.

    Args:
        runs: by their start.
        kills: all of them; a child's time ends there, or with the last start of all.

    Returns:
        Seconds.
    """
    if not runs:
        return 0.0
    ends = {kill.pid: kill.before for kill in kills}
    starts: dict[int, list[int]] = defaultdict(list)
    for run in runs:
        starts[run.pid].append(run.start)
    last = runs[-1].start
    lives = [[*times, max(times[-1], min(last, ends.get(pid, last)))] for pid, times in starts.items()]
    return max(later - earlier for life in lives for earlier, later in pairwise(life)) / 1e9
