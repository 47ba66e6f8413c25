"""Rows about signals: none is lost, whenever it comes, and storms of them do no harm."""

import os
import signal
import subprocess
import sys
import threading
import time
from math import ceil

from multiworker.supervisor.reload import PAUSE
from multiworker.worker.scoreboard import Scoreboard
from multiworker.worker.words import State, Total, Word
from tests.chaos.rows.bench import Bench, Measured, after, board_of, children, staff

FORKS = """
import os, random, signal, sys, time
from multiworker.supervisor import process, signals

if sys.argv[2] == "blocked":
    signals.block()
else:  # as many supervisors do it; a child has the parent's handlers for a moment
    for number in signals.CONTROL - {signal.SIGCHLD}:
        signal.signal(number, lambda *_: None)
lost = 0
for _ in range(int(sys.argv[1])):
    pid = process.fork(lambda: time.sleep(0.5) or 0)
    time.sleep(random.uniform(0, 0.005))
    os.kill(pid, signal.SIGTERM)
    lost += os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != -signal.SIGTERM
print(lost)
"""
MOMENTS = 50
GRACE = 2.0


def term_after_fork(bench: Bench) -> Measured:
    """TERM comes 0-5 ms after a fork; and the same with handlers instead of blocked signals."""
    forks = bench.take(2000, 200)
    lost = _lost(forks, "blocked")
    mutants = bench.take(200, 60)
    unblocked = _lost(mutants, "handled")
    return Measured(f"{lost} of {forks} lost; with handlers instead {unblocked} of {mutants}", lost == 0 < unblocked)


def _lost(forks: int, how: str) -> int:
    command = [sys.executable, "-c", FORKS, str(forks), how]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def term_while_starting(bench: Bench) -> Measured:
    """TERM comes at one of many moments of the start."""
    count = bench.take(MOMENTS, 5)
    with bench.engine(procs=2) as engine:
        engine.stop()
        begun = time.monotonic()
        engine.start(procs=2)
        whole = time.monotonic() - begun
        engine.stop()
        times, early, right = [], 0, True
        for moment in range(count):
            lines = len(engine.lines("parent of 2"))
            engine.start(procs=2, wait=False)
            time.sleep(whole * moment / count)
            engine.send(signal.SIGTERM)
            times.append(after(lambda: engine.parent.poll() is not None, "the end"))
            unborn = engine.parent.returncode == -signal.SIGTERM and len(engine.lines("parent of 2")) == lines
            early += unborn  # it did not know its settings
            right = right and (engine.parent.returncode == 0 or unborn) and not engine.processes()
    said = f"{count} moments in {whole:.2f} s: {max(times):.2f} s at most; {early} ended before the settings were known"
    return Measured(said, right, max(times) <= 1)


class Census:
    """Counts children all the time.

    Args:
        board: the parent's.
    """

    def __init__(self, board: Scoreboard) -> None:
        self.least_ready = 10**6
        self.most = 0
        """Booting and ready ones, without those that were told to leave."""
        self._board = board
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._count)

    def __enter__(self) -> "Census":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _count(self) -> None:
        before: list[int] = []
        while not self._over.is_set():
            states = [0 if one[Word.LEAVING] else one[Word.STATE] for one in self._board.records[:32]]
            if states == before:  # nothing changed between two looks, so these were there at the same time
                ready = states.count(State.READY)
                self.least_ready = min(self.least_ready, ready)
                self.most = max(self.most, ready + states.count(State.IMPORT) + states.count(State.CONNECT))
            before = states
            time.sleep(0.001)


def storm_of_hangups(bench: Bench) -> Measured:
    """HUP comes a thousand times at once."""
    with bench.engine() as engine:
        board = board_of(engine)
        with Census(board) as census:
            for _ in range(1000):
                engine.send(signal.SIGHUP)
            _until_settled(board)
        cycles = board.totals[Total.GENERATION] - 1
        right = cycles <= 2 and census.least_ready >= 4 and census.most <= 5 and engine.stop() == 0
    said = f"{cycles} cycles; never under {census.least_ready} of 4 ready, never over {census.most} not draining"
    return Measured(said, right)


def steady_hangups(bench: Bench) -> Measured:
    """HUP comes every 10 ms for just under two seconds, and the code changes before the last one."""
    with bench.engine(procs=2) as engine:
        board = board_of(engine)
        begun = time.monotonic()
        while time.monotonic() < begun + 1.9:
            engine.send(signal.SIGHUP)
            time.sleep(0.01)
        engine.write_handlers(("one", "the last"))
        engine.send(signal.SIGHUP)
        lasted = time.monotonic() - begun
        _until_settled(board)
        last = board.totals[Total.GENERATION]
        after(lambda: {one[Word.GENERATION] for one in board.present} == {last}, "the end of the last old child")
        cycles = last - 1
        engine.push("quick", 1)
        right = engine.until_noted(1, "end")[0]["code"] == "the last" and engine.stop() == 0
    return Measured(
        f"{cycles} cycles in {lasted:.1f} s; ends on the last code", right and cycles <= 1 + ceil(lasted / PAUSE)
    )


def _until_settled(board: Scoreboard) -> None:
    totals = board.totals
    after(lambda: totals[Total.DECIDED] == totals[Total.ASKED] > 0, "the last reload")


def term_during_reload(bench: Bench) -> Measured:
    """TERM comes while the first child of a new generation imports."""
    with bench.engine() as engine:
        board = board_of(engine)
        engine.write_handlers(("CODE = ", "time.sleep(1000)\nCODE = "))
        engine.send(signal.SIGHUP)
        after(lambda: staff(board, State.IMPORT), "the import")
        told = time.monotonic_ns()
        engine.send(signal.SIGTERM)
        took = after(lambda: engine.parent.poll() is not None, "the end")
        forked = sum(record[Word.STARTED] > told for record in board.records)
        right = engine.finish() == 0 and not forked
    return Measured(f"{took:.2f} s; {forked} forked after it", right, took <= 1)


def never_drain(bench: Bench) -> Measured:
    """TERM comes while all loops are blocked."""
    with bench.engine("--grace", str(GRACE), "--concurrency", "1") as engine:
        engine.push("block", *range(4), gate="never")
        engine.until_noted(4)
        engine.send(signal.SIGTERM)
        gone = after(lambda: not _members(engine.pid, children(engine)), "the end of all children")
        ended = gone + after(lambda: engine.parent.poll() is not None, "the end")
        killed = len(engine.lines("did not leave in time: killed"))
        right = engine.finish() == 0 and killed == 4 and engine.left_in_redis() == {"scheduled": 4}
    said = f"last child {gone - GRACE:.2f} s, exit {ended - GRACE:.2f} s after the grace; {killed} killed, 4 given back"
    return Measured(said, right, gone <= GRACE + 0.5)


def _members(parent: int, pids: list[int]) -> list[int]:
    """Return those that are not the sweeper, which comes when all others are gone."""
    return [pid for pid in pids if "sweep" not in _title(pid)] if parent else []


def _title(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:  # noqa: PTH123 - read again and again
            return file.read().decode(errors="replace")
    except OSError:
        return "sweep"


def impatience(bench: Bench) -> Measured:
    """INT twice, and QUIT, while tasks run."""
    figures, right = [], True
    for numbers in ((signal.SIGINT, signal.SIGINT), (signal.SIGQUIT,)):
        with bench.engine("--concurrency", "1") as engine:
            engine.push("hold", *range(4), gate="never")
            engine.until_noted(4)
            begun = time.monotonic()
            for count, number in enumerate(numbers, 1):
                begun = time.monotonic()
                os.kill(engine.pid, number)
                engine.until_line(f"{number.name} from pid", count)
            after(lambda: not _members(engine.pid, children(engine)), "the end of all children")
            gone = time.monotonic() - begun
            after(lambda: engine.parent.poll() is not None, "the end")
            figures.append((gone, time.monotonic() - begun))
            right = right and engine.finish() == 0 and engine.left_in_redis() == {"scheduled": 4}
    said = ", ".join(f"last child {gone:.2f} s, exit {ended:.2f} s" for gone, ended in figures)
    return Measured(f"{said} (INT twice, QUIT)", right, max(gone for gone, _ in figures) <= 0.3)
