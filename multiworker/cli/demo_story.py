"""The story that ``multiworker demo`` tells, chapter by chapter."""

import math
import os
import re
import signal
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence

from multiworker.cli.demo_rig import CONCURRENCY, DemoError, Rig, Run
from multiworker.cli.demo_screen import Screen
from multiworker.cli.sample import BROKEN, REST, SECONDS, TIMED, UNKNOWN, payloads
from multiworker.worker.errors import Exit

KILL_AFTER = 0.4
"""Seconds of running that the child which is killed gets: less than any of its tasks takes."""
SHOWN = 2
"""Children that are named in one line, at most."""


class Story:
    """What happens, in order; every chapter checks what it tells.

    Args:
        rig: the parent to tell it with.
        show: the screen to tell it on.
    """

    def __init__(self, rig: Rig, show: Screen) -> None:
        self._rig = rig
        self._show = show
        self._say = show.say
        self._began = time.monotonic()

    def tell(self) -> None:
        """Tell all of it.

        Raises:
            DemoError: something was not as it should be.
        """
        self._start()
        self._timed()
        moved = self._crash()
        self._dead_letters()
        self._account(moved)
        self._say(f"All of it held, in {time.monotonic() - self._began:.1f} s.")

    def _start(self) -> None:
        procs = self._rig.procs
        self._say(f"A Redis of its own and {procs} children, {CONCURRENCY} tasks at once each")
        self._rig.start()
        for _ in self._rig.looks("all children were ready"):
            if len(self._rig.ready()) == procs:
                break
        children = _some(sorted(self._child(pid) for pid in self._rig.slots))
        self._say(f"  ready after {time.monotonic() - self._began:.1f} s: {children}")

    def _timed(self) -> None:
        tasks = payloads(TIMED)
        self._say(f"\n1. {len(tasks)} tasks: {_listed(TIMED)}")
        self._show.begin(len(tasks))
        pushed_at = time.monotonic()
        self._rig.push(tasks.values())
        self._watch(tasks, "the timed tasks were done", lambda runs: _done(runs) == len(tasks))
        self._show.finish()
        runs = self._runs(tasks)
        _check_counts(runs, Counter(tasks.keys()))
        for run in runs:
            seconds = (run.end or run.start) - run.start
            self._say(f"  {run.id:<15} {run.type:<13} {self._child(run.pid):<21} {seconds:.1f} s")
        took = max(run.end or run.start for run in runs) - pushed_at
        serial = sum(SECONDS[kind] for kind in TIMED)
        children = _count(len({run.pid for run in runs}), "child", "children")
        gain = f"took {took:.1f} s on {children}: {serial / took:.1f} x as fast"
        self._say(f"  {len(tasks)} tasks, {serial:.1f} s one after the other, {gain}")

    def _crash(self) -> int:
        """Kill a child while tasks run.

        Returns:
            How many tasks had to start again.
        """
        tasks = payloads(REST)
        self._say(f"\n2. {len(tasks)} tasks, and one child is killed: {_listed(REST)},")
        self._say("  plus one of a type that nobody handles, and one that is not JSON")
        self._show.begin(len(tasks))
        self._rig.push([UNKNOWN, *tasks.values(), BROKEN])
        self._watch(tasks, "all tasks ran", lambda runs: len({run.id for run in runs}) == len(tasks))
        pause = time.monotonic() + KILL_AFTER
        self._watch(tasks, "some time had passed", lambda _: time.monotonic() >= pause)
        running = Counter(run.pid for run in self._runs(tasks) if run.end is None)
        if not running:
            raise DemoError("the tasks were over before a child could be killed")
        victim = running.most_common(1)[0][0]
        os.kill(victim, signal.SIGKILL)
        killed_at = time.monotonic()
        self._say(f"  {self._child(victim)} is killed with SIGKILL")
        self._watch(tasks, "the killed child's tasks were done", lambda runs: _done(runs) == len(tasks))
        self._show.finish()
        moved = self._started_again(tasks, victim, killed_at)
        self._say(f"  all {len(tasks)} tasks are done, and {self._successor(victim)}")
        return moved

    def _started_again(self, tasks: Mapping[str, str], victim: int, killed_at: float) -> int:
        """Check and tell what became of the tasks that the killed child had.

        Returns:
            How many they were.
        """
        runs = self._runs(tasks)
        lost = {run.id for run in runs if run.pid == victim and run.end is None}
        again = [run for run in runs if run.id in lost and run.pid != victim]
        _check_counts(runs, Counter(tasks.keys()) + Counter(lost))
        wait = math.ceil(max(run.start - killed_at for run in again) * 1000)
        self._say(f"  {_count(len(lost), 'task')} ran there and started again within {wait} ms of the kill, on")
        self._say(f"  {_some(sorted({self._child(run.pid) for run in again}))}")
        return len(again)

    def _successor(self, victim: int) -> str:
        slot = self._rig.slots[victim]
        for _ in self._rig.looks("the killed child was replaced"):
            for pid, its_slot in self._rig.ready().items():
                if its_slot == slot and pid != victim:
                    return f"child {slot} is back as pid {pid}"
        raise DemoError("the killed child was not replaced")

    def _dead_letters(self) -> None:
        self._say("\n3. What could not run is kept, with the reason (multiworker dead ls)")
        letters: list[tuple[str, str]] = []
        for _ in self._rig.looks("the dead letters were there"):
            letters = sorted(self._rig.dead_letters())
            if len(letters) >= 2:
                break
        for reason, payload in letters:
            self._say(f"  {reason:<12} {payload[:60]}")
        if letters != [("no handler", UNKNOWN), ("not json", BROKEN)]:
            raise DemoError("the dead letters are not the two that should be there")

    def _account(self, moved: int) -> None:
        self._say("\nThe parent ends, and accounts for every task that was ever claimed:")
        code = self._rig.stop()
        account = re.search(r"claimed \d+ = .*", "\n".join(self._rig.log_lines()))
        line, _, verdict = account[0].partition(": ") if account else ("nothing", "", "")
        self._say(f"  {line}\n")
        done, dead = len(TIMED) + len(REST), 2
        ends = f"done {done} + retried 0 + dead {dead} + given back {moved} + in flight 0"
        if verdict != "adds up" or line != f"claimed {done + dead + moved} = {ends}":
            raise DemoError(f"the account should be {ends}")
        if code != Exit.OK:
            raise DemoError(f"the parent ended with exit code {code}")

    def _runs(self, tasks: Collection[str]) -> list[Run]:
        return [run for run in self._rig.runs() if run.id in tasks]

    def _watch(self, tasks: Collection[str], what: str, enough: Callable[[Sequence[Run]], bool]) -> None:
        """Show what runs where until it is enough."""
        for _ in self._rig.looks(what):
            runs = self._runs(tasks)
            ready = self._rig.ready()
            running = Counter(ready[run.pid] for run in runs if run.end is None and run.pid in ready)
            where = [f"child {slot} runs {count}" for slot, count in sorted(running.items())]
            self._show.update(_done(runs), _some(where))
            if enough(runs):
                return

    def _child(self, pid: int) -> str:
        return f"child {self._rig.slots.get(pid, '?')} (pid {pid})"


def _done(runs: Sequence[Run]) -> int:
    return len({run.id for run in runs if run.end is not None})


def _check_counts(runs: Sequence[Run], expected: Counter[str]) -> None:
    wrong = {run.id for run in runs} ^ set(expected) or Counter(run.id for run in runs) - expected
    if wrong or len(runs) != expected.total():
        raise DemoError(f"not run as often as they should: {', '.join(sorted(wrong)[:5])}")


def _listed(types: Sequence[str]) -> str:
    return ", ".join(f"{count} x {kind} ({SECONDS[kind]:g} s)" for kind, count in Counter(types).items())


def _some(names: Sequence[str]) -> str:
    return ", ".join([*names[:SHOWN], "..."] if names[SHOWN:] else names)


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"
