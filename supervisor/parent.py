"""The parent: signals and deaths only change its table; one pass makes reality match.

One thread for life, no event loop, no Redis, no user code, no file descriptor per child. The only wait is for signals.
"""

import contextlib
import logging
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

from setproctitle import setproctitle

from multiworker.supervisor import bookkeeping, pidfile, process, signals
from multiworker.supervisor.children import Child, say_code
from multiworker.supervisor.cores import core_count, usable_cores
from multiworker.supervisor.plan import Stage, reconcile
from multiworker.supervisor.redis_server import RedisServer
from multiworker.supervisor.restart import GIVE_UP, Patience, Slots
from multiworker.worker.embedded import is_embedded
from multiworker.worker.errors import Exit, SettingsError
from multiworker.worker.scoreboard import NO_QUOTA, Scoreboard, State, Total, Wish, Word, runtime_directory
from multiworker.worker.settings import MAX_PROCS, Settings

log = logging.getLogger("multiworker.supervisor")

TICK = 0.25
"""Seconds between two passes when no signal comes."""
LATE = 5.0
"""Seconds between two passes from which on the parent itself was stopped; then old beats prove nothing for as long."""
FAILED_BOOTS = 3
"""Boots of a generation that may fail before it is abandoned."""
RELOAD_PAUSE = 1.0
"""Seconds between two reloads; what SIGHUPs ask for in between is done at once, after it."""
RECOVER_AGAIN = 1.0
"""Seconds after which another child is asked to give a dead one's tasks back."""
SWEEP_TIME = 10.0
"""Seconds that the last sweep may take before the parent leaves the rest to the lease."""


def run(settings: Settings, resolve: Callable[[], Settings]) -> int:
    """Be the parent until there is nothing left to do.

    Args:
        settings: validated.
        resolve: reads the settings anew, for SIGHUP.

    Returns:
        The exit code.
    """
    signals.block()
    with contextlib.ExitStack() as undo:
        try:
            parent = _prepare(settings, resolve, undo)
        except pidfile.AlreadyRunningError as error:
            log.error("already running: %s", error)
            return Exit.TEMPFAIL
        except SettingsError as error:
            log.error("%s", error)
            return Exit.USAGE
        except OSError as error:
            log.error("cannot write %s: %s", error.filename, error.strerror)
            return Exit.CANTCREAT
        return parent.live()


def _prepare(settings: Settings, resolve: Callable[[], Settings], undo: contextlib.ExitStack) -> "Parent":
    """Take the locks and make the scoreboard; `undo` removes the files again."""
    locks: list[int] = []
    if settings.pidfile:
        path = Path(settings.pidfile)
        locks.append(pidfile.lock(path))
        undo.callback(pidfile.remove, path, locks[0])
    server = RedisServer(settings.redis) if is_embedded(settings.redis) else None
    if server:
        locks.append(server.lock())
    directory = runtime_directory()
    _remove_left_boards(directory)
    board = Scoreboard.create(directory / f"{settings.name or 'unnamed'}.{os.getpid()}.board", 2 * MAX_PROCS + 2)
    undo.callback(board.path.unlink, missing_ok=True)
    return Parent(settings, resolve, board, server, locks)


def _remove_left_boards(directory: Path) -> None:
    """Remove the scoreboards of parents that were killed; children of theirs that still drain keep theirs mapped."""
    for path in directory.glob("*.board"):
        if not Path("/proc", path.stem.rpartition(".")[2]).exists():
            path.unlink(missing_ok=True)


class Parent:
    """The table and the pass.

    Args:
        settings: what to go by.
        resolve: reads the settings anew, for SIGHUP.
        board: the scoreboard.
        server: the embedded Redis, if it is this parent's to run.
        locks: file descriptors that children must not keep.
    """

    def __init__(
        self,
        settings: Settings,
        resolve: Callable[[], Settings],
        board: Scoreboard,
        server: RedisServer | None,
        locks: list[int],
    ) -> None:
        self._settings = self._good_settings = settings
        self._resolve = resolve
        self._board = board
        self._server = server
        self._locks = locks
        self._children: dict[int, Child] = {}
        self._slots = Slots()
        self._wanted = settings.procs or core_count()
        self._generation = self._last_generation = 1
        self._good_generation = 0
        self._failed_boots = 0
        self._reload_asked = False
        self._reloaded_at = -RELOAD_PAUSE
        self._quiet = False
        self._survives_hangup = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        self._exit: int | None = None
        self._passed_at = self._check_from = time.monotonic()
        self._patience = Patience()
        self._asked_at = 0.0
        self._title = ""

    def live(self) -> int:
        """Run passes until told to stop and everybody is gone.

        Returns:
            The exit code.
        """
        log.info(
            "parent of %d children, %d tasks each, queue %s", self._wanted, self._settings.concurrency, self._queues()
        )
        while True:
            self._pass()
            if self._exit is not None and not self._children:
                break
            for arrival in signals.arrivals(TICK):
                self._take(arrival)
        self._sweep()
        if self._server:
            self._server.stop()
        log.info("%s", bookkeeping.ledger_line(self._board))
        return self._exit

    def _queues(self) -> str:
        return ", ".join(self._settings.queue)

    def _pass(self) -> None:
        """Make reality match the table, once."""
        now = time.monotonic()
        late = min(LATE, self._settings.stuck_timeout / 2)
        if now - self._passed_at > late:
            self._check_from = now + late
        self._passed_at = now
        self._reap(now)
        bookkeeping.retire_settled(self._board, [child.record for child in self._children.values()])
        if self._server:
            self._server.keep_running(now)
        if now >= self._check_from:
            for child in list(self._children.values()):
                child.check(self._settings, now)
        self._recover_lost(now)
        self._hand_out_quota()
        if self._exit is None:
            self._note_good_generation()
            if self._reload_asked and now - self._reloaded_at >= RELOAD_PAUSE:
                self._reload(now)
            self._reconcile(now)
            self._judge(now)
        self._show()

    # What signals change

    def _take(self, arrival: signals.Arrival) -> None:
        if arrival.number is signal.SIGCHLD:
            return
        log.info("%s from pid %d uid %d", arrival.number.name, arrival.sender, arrival.uid)
        if arrival.number is signal.SIGHUP and not arrival.by_kernel:
            self._reload_asked = True
        elif arrival.number is signal.SIGHUP and self._survives_hangup:
            log.info("the terminal is gone; SIGHUP was ignored at the start, so this goes on")
        elif arrival.number in (signal.SIGTERM, signal.SIGHUP):
            self._stop(Exit.OK)
        elif arrival.number is signal.SIGINT:
            self._stop(Exit.OK) if self._exit is None else self._kill_all()
        elif arrival.number is signal.SIGQUIT:
            self._stop(Exit.OK)
            self._kill_all()
        elif arrival.number is signal.SIGUSR1:
            self._toggle_quiet()
        elif arrival.number is signal.SIGUSR2:
            for child in self._children.values():
                process.send(child.pid, signal.SIGUSR2)
        else:
            step = 1 if arrival.number is signal.SIGTTIN else -1
            self._wanted = min(MAX_PROCS, max(1, self._wanted + step))

    def _reload(self, now: float) -> None:
        """Begin a new generation with the settings and code on disk; the old one stays until it is replaced."""
        self._reload_asked = False
        self._reloaded_at = now
        try:
            self._settings = self._resolve()
        except SettingsError as error:
            log.error("reload refused, the settings stay as they are: %s", error)
            return
        self._last_generation += 1
        self._generation = self._last_generation
        self._failed_boots = 0
        self._wanted = self._settings.procs or core_count()
        self._slots.forget()

    def _stop(self, code: int) -> None:
        """Have everybody drain; nothing is forked from here on. The first reason to stop gives the exit code."""
        if self._exit is None:
            self._exit = code
            for child in self._children.values():
                child.drain(self._settings.grace)

    def _kill_all(self) -> None:
        for child in self._children.values():
            child.blamed = False
            child.kill()

    def _toggle_quiet(self) -> None:
        self._quiet = not self._quiet
        for child in self._children.values():
            child.record[Word.QUIET] = int(self._quiet)
            self._nudge(child)

    # What deaths change

    def _reap(self, now: float) -> None:
        ours = {*self._children, self._server.pid if self._server else 0}
        for pid, code in process.reap(ours):
            self._reaped(pid, code, now)

    def _reaped(self, pid: int, code: int, now: float) -> None:
        if self._server and self._server.reaped(pid, code, now):
            return
        child = self._children.pop(pid, None)
        if child is None:
            log.debug("reaped a stranger, pid %d", pid)
            return
        finished = child.record[Word.WISH] == Wish.FINISHED and code == Exit.OK
        in_order = child.draining or (child.in_order and code == Exit.OK)
        booted, useful = child.booted, child.useful(now)
        child.ended(code)
        if finished:
            self._stop(Exit.OK)
        elif in_order:
            log.info("%s left: %s", child.name, say_code(code))
            if booted:
                self._slots.left()
                self._patience.well()
        else:
            log.error("%s died: %s", child.name, say_code(code))
            self._patience.died(now, useful=useful)
            self._slots.died(child.slot, now, random.random(), useful=useful)  # noqa: S311 - jitter
            if not booted:
                self._boot_failed(child, code)
        self._asked_at = 0.0

    def _boot_failed(self, child: Child, code: int) -> None:
        if child.generation != self._generation:
            return
        if self._good_generation == 0:
            if code in (Exit.CONFIG, Exit.UNAVAILABLE):
                self._stop(code)
            return
        self._failed_boots += 1
        if self._failed_boots >= FAILED_BOOTS and self._generation != self._good_generation:
            log.error("reload failed: generation %d does not boot; the old one stays", self._generation)
            self._generation, self._settings = self._good_generation, self._good_settings
            self._wanted = self._settings.procs or core_count()
            self._slots.forget()

    def _recover_lost(self, now: float) -> None:
        """Ask one living child to give back what a dead one holds; another one, if it takes long or dies itself."""
        able = [child for child in self._children.values() if child.record[Word.STATE] in (State.READY, State.DRAIN)]
        too_long = now - self._asked_at >= RECOVER_AGAIN
        for record in bookkeeping.lost(self._board):
            if record[Word.RECOVERER] in self._children and not too_long:
                continue
            record[Word.RECOVERER] = 0
            if able:
                helper = random.choice(able)  # noqa: S311 - whoever
                record[Word.RECOVERER] = helper.pid
                self._asked_at = now
                self._nudge(helper)

    def _sweep(self) -> None:
        """With no child left, fork one that only gives back what dead ones hold."""
        if not bookkeeping.lost(self._board):
            return
        try:
            pid = process.fork(self._sweeper, close=self._locks)
        except OSError as error:
            log.error("cannot fork, tasks of dead children stay until their lease is over: %s", error.strerror)
            return
        deadline = time.monotonic() + SWEEP_TIME
        while not self._has_ended(pid):
            if time.monotonic() >= deadline:
                process.send(pid, signal.SIGKILL)
            for _ in signals.arrivals(TICK):
                continue
        bookkeeping.retire_settled(self._board, alive=())

    def _has_ended(self, sweeper: int) -> bool:
        """Keep the embedded Redis running for the sweeper, and tell whether that has ended."""
        now = time.monotonic()
        ended = False
        for pid, code in process.reap([sweeper]):
            ended = ended or pid == sweeper
            if self._server:
                self._server.reaped(pid, code, now)
        if self._server and not ended:
            self._server.keep_running(now)
        return ended

    # What the table asks for

    def _reconcile(self, now: float) -> None:
        self._slots.refill(self._wanted, now)
        seats = [child.seat(self._generation) for child in self._children.values()]
        plan = reconcile(seats, self._wanted, lambda slot: self._slots.may_fork(slot, now))
        for slot in plan.fork:
            if self._slots.may_fork(slot, now):
                self._fork(slot)
        for pid in plan.drain:
            self._children[pid].drain(self._settings.grace)

    def _note_good_generation(self) -> None:
        """See whether all children of the wanted generation are ready: what a reload that fails goes back to."""
        if self._good_generation == self._generation:
            return
        ready = [c for c in self._children.values() if c.generation == self._generation and c.stage is Stage.READY]
        if len(ready) >= self._wanted:
            self._good_generation, self._good_settings = self._generation, self._settings
            log.info("generation %d is ready: %d children", self._generation, len(ready))

    def _judge(self, now: float) -> None:
        """Give up when children crash again and again; Redis being away is no crash."""
        if any(child.record[Word.STATE] == State.CONNECT or child.stable(now) for child in self._children.values()):
            self._patience.well()
        if self._patience.over(now):
            log.error("no child has been stable for %g s: giving up", GIVE_UP)
            self._stop(Exit.SOFTWARE)

    def _fork(self, slot: int) -> None:
        index = self._board.free_record()
        if index is None:
            return
        record = self._board.records[index]
        record[Word.SLOT], record[Word.GENERATION] = slot, self._generation
        record[Word.STARTED] = time.monotonic_ns()
        record[Word.QUOTA] = NO_QUOTA if self._settings.max_tasks is None else 0
        record[Word.QUIET] = int(self._quiet)
        record[Word.STATE] = State.IMPORT
        try:
            pid = process.fork(lambda: self._child_life(slot, index), close=self._locks)
        except OSError as error:
            log.error("cannot fork: %s", error.strerror)
            record.clear()
            self._slots.died(slot, time.monotonic(), random.random(), useful=False)  # noqa: S311 - jitter
            return
        self._slots.forked()
        record[Word.PID] = pid
        self._children[pid] = Child(pid, slot, self._generation, record, time.monotonic())

    def _child_life(self, slot: int, index: int) -> int:
        """Run in the child, after fork."""
        from multiworker.worker.process import run_child  # noqa: PLC0415 - only children may load redis and asyncio

        setproctitle(f"multiworker: child {slot} gen {self._generation}{self._named()}")
        if self._settings.pin:
            cores = usable_cores()
            os.sched_setaffinity(0, {cores[(slot - 1) % len(cores)]})
        parent = int(self._board.totals[Total.PARENT])
        return run_child(self._settings, self._board, index, parent, first=self._good_generation == 0)

    def _sweeper(self) -> int:
        from multiworker.worker.process import sweep  # noqa: PLC0415 - only children may load redis and asyncio

        setproctitle(f"multiworker: sweep{self._named()}")
        return sweep(self._settings, self._board)

    def _hand_out_quota(self) -> None:
        if self._settings.max_tasks is None or self._exit is not None:
            return
        if bookkeeping.settled(self._board) >= self._settings.max_tasks:
            self._stop(Exit.OK)
            return
        granted = bookkeeping.grant(self._board, self._settings.max_tasks, self._settings.concurrency)
        for child in self._children.values():
            if child.record in granted:
                self._nudge(child)

    def _nudge(self, child: Child) -> None:
        """Have a child look at the page; SIGURG is ignored by default, so it is harmless while it boots."""
        process.send(child.pid, signal.SIGURG)

    # What others see

    def _named(self) -> str:
        return f" [{self._settings.name}]" if self._settings.name else ""

    def _show(self) -> None:
        totals = self._board.totals
        totals[Total.GENERATION] = self._generation
        totals[Total.GOOD_GENERATION] = self._good_generation
        totals[Total.PROCS] = self._wanted
        ready = sum(child.stage is Stage.READY for child in self._children.values())
        title = f"multiworker: parent gen {self._generation} {ready}/{self._wanted}{self._named()}"
        if title != self._title:
            setproctitle(title)
            self._title = title
