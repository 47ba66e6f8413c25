"""The parent: signals and deaths only change its table; one pass makes reality match.

One thread for life, no event loop, no Redis, no user code, no file descriptor per child. The only wait is for signals.
"""

import logging
import random
import signal
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from multiworker.supervisor import bookkeeping, process, signals
from multiworker.supervisor.children import Child, say_code
from multiworker.supervisor.cores import core_count
from multiworker.supervisor.header import Header
from multiworker.supervisor.notify import Notifier, look
from multiworker.supervisor.nursery import Nursery
from multiworker.supervisor.plan import reconcile
from multiworker.supervisor.reload import Reload
from multiworker.supervisor.restart import GIVE_UP, Patience, Slots
from multiworker.supervisor.templates import SLOT, Begun
from multiworker.worker.errors import Exit
from multiworker.worker.scoreboard import Scoreboard
from multiworker.worker.settings import MAX_PROCS, Settings
from multiworker.worker.words import Total, Wish, Word

if TYPE_CHECKING:  # imported only to run an embedded Redis
    from multiworker.supervisor.redis_server import RedisServer

log = logging.getLogger("multiworker.supervisor")

TICK = 0.25
"""Seconds between two passes when no signal comes."""
LATE = 5.0
"""Seconds between two passes from which on the parent itself was stopped; then old beats prove nothing for as long."""


class Parent:
    """The table and the pass.

    Args:
        settings: what to go by.
        resolve: reads the settings anew, for SIGHUP; called in a process of its own.
        board: the scoreboard.
        server: the embedded Redis, if it is this parent's to run.
        locks: file descriptors that children must not keep.
        notifier: the line to systemd.
        begun: a template that has begun already.
    """

    def __init__(
        self,
        settings: Settings,
        resolve: Callable[[], Settings],
        board: Scoreboard,
        server: "RedisServer | None",
        locks: list[int],
        notifier: Notifier,
        begun: Begun | None = None,
    ) -> None:
        self._notifier = notifier
        self._resolve = resolve
        self._board = board
        self._server = server
        self._nursery = Nursery(board, locks, server, begun)
        self._slots = Slots()
        self._reload = Reload(settings)
        self._procs = settings.procs or core_count()
        self._survives_hangup = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        self._exit: int | None = None
        self._passed_at = self._check_from = time.monotonic()
        self._patience = Patience()
        self._fork_fails = False
        self._header = Header(board)
        self._to_dump: list[int] = []

    @property
    def _settings(self) -> Settings:
        return self._reload.wanted.settings

    def live(self) -> int:
        """Run passes until told to stop and everybody is gone.

        Returns:
            The exit code.
        """
        queues = ", ".join(self._settings.queue)
        log.info("parent of %d children, %d tasks each, queue %s", self._procs, self._settings.concurrency, queues)
        if self._settings.reload:
            self._nursery.watch()
        while True:
            self._pass(time.monotonic())
            if self._exit is not None and self._nursery.empty:
                break
            for arrival in signals.arrivals(TICK):
                self.take(arrival)
        self._nursery.sweep(self._settings)
        if self._server:
            self._server.stop()
        log.info("%s", bookkeeping.ledger_line(self._board))
        return self._exit

    def _pass(self, now: float) -> None:
        """Make reality match the table, once."""
        for child, code in self._nursery.reap():
            self._ended(child, code, now)
        self._nursery.retire()
        if self._server:
            self._server.keep_running(now)
        self._check_deadlines(now)
        self._nursery.recover_lost(now)
        if self._exit is None and self._nursery.hand_out_quota(self._settings):
            self._stop(Exit.OK)
        if self._exit is None:
            self._follow_reload(now)
            self._keep_templates(now)
            self._reconcile(now)
            self._judge(now)
        self._dump_next()
        ready, quiet, stopping = self._nursery.ready(), self._nursery.quiet, self._exit is not None
        self._header.show(self._reload, self._procs, ready, quiet=quiet, stopping=stopping)
        self._notifier.tell(look(self._reload, self._nursery.all, self._procs, stopping=stopping, now=now))

    def _dump_next(self) -> None:
        """Ask for the stacks of one child a pass: written all at once, they would stand mixed up in the log."""
        if self._to_dump and (pid := self._to_dump.pop(0)) in self._nursery.by_pid:
            process.send(pid, signal.SIGUSR2)

    def _check_deadlines(self, now: float) -> None:
        """End children that are over one; but not if the parent itself was stopped, for then theirs prove nothing."""
        late = min(LATE, self._settings.stuck_timeout / 2)
        if now - self._passed_at > late:
            self._check_from = now + late
        self._passed_at = now
        if now >= self._check_from:
            for child in [*self._nursery.all, *self._nursery.templates.by_pid.values()]:
                child.check(self._settings, now)

    # What signals change

    def take(self, arrival: signals.Arrival) -> None:
        """Do what a signal asks for, in the table."""
        if arrival.number is signal.SIGCHLD:
            return
        log.info("%s from pid %d uid %d", arrival.number.name, arrival.sender, arrival.uid)
        if arrival.number is signal.SIGHUP and not arrival.by_kernel:
            self._board.totals[Total.ASKED] = self._reload.ask()  # at once: who reads less is answered by what follows
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
            self._nursery.toggle_quiet()
        elif arrival.number is signal.SIGUSR2:
            self._to_dump = [child.pid for child in self._nursery.all]
        else:
            step = 1 if arrival.number is signal.SIGTTIN else -1
            self._procs = min(MAX_PROCS, max(1, self._procs + step))

    def _stop(self, code: int) -> None:
        """Have everybody drain; nothing is forked from here on. The first reason to stop gives the exit code."""
        if self._exit is None:
            self._exit = code
            self._nursery.cancel_births()
            for child in self._nursery.all:
                child.drain(self._settings.grace)
            self._nursery.templates.retire(())
            self._nursery.resolver.cancel()

    def _kill_all(self) -> None:
        for child in self._nursery.all:
            child.blamed = False
            child.kill()

    # What deaths change

    def _ended(self, child: Child, code: int, now: float) -> None:
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
            if child.slot != SLOT:
                self._board.slots[child.slot - 1].died(code)
            self._patience.died(now, useful=useful)
            self._slots.died(child.slot, now, random.random(), useful=useful)  # noqa: S311 - jitter
            if self._reload.good is None and not booted and code in (Exit.CONFIG, Exit.UNAVAILABLE):
                self._stop(code)
            elif self._reload.failed(child.generation, child.trouble or say_code(code), useful=useful):
                what = "dies on trial" if booted else "does not boot"
                log.error("reload failed: generation %d %s; the old one stays", child.generation, what)
                self._start_afresh()

    # What the table asks for

    def _follow_reload(self, now: float) -> None:
        """See when a generation is complete. For another one have the settings read, and begin it when they are."""
        ready = self._nursery.ready(self._reload.wanted.number)
        self._reload.watch(now, ready)
        if not self._reload.on_trial and self._reload.succeeded(ready, self._procs):
            log.info("generation %d is ready: %d children", self._reload.wanted.number, self._procs)
        if self._reload.due(now):
            self._reload.read()
            self._nursery.read(self._resolve)
        answer = self._nursery.resolver.answer(now)
        if answer and answer.settings:
            self._reload.begin(now, answer.settings)
            self._start_afresh()
        elif answer:
            log.error("reload refused, the settings stay as they are: %s", answer.trouble)
            self._reload.refuse(now, answer.trouble)

    def _start_afresh(self) -> None:
        """New settings or code: count the cores again, and give every slot a new chance."""
        self._procs = self._settings.procs or core_count()
        self._slots.forget()

    def _keep_templates(self, now: float) -> None:
        """Give the wanted generation and the last good one their templates, and end all others."""
        wanted, good = self._reload.wanted, self._reload.good
        for child in self._nursery.stillborn(now):
            self._failed_fork(child.slot, now)
        templates = self._nursery.templates
        templates.retire((wanted, good))
        self._slots.refill(self._procs, now)
        for generation in templates.missing((wanted, good)):
            if not self._slots.may_fork(SLOT, now):
                return
            self._forked() if templates.fork(generation) else self._failed_fork(SLOT, now)

    def _forked(self) -> None:
        self._slots.forked()
        self._fork_fails = False

    def _failed_fork(self, slot: int, now: float) -> None:
        self._slots.died(slot, now, random.random(), useful=False)  # noqa: S311 - jitter
        self._patience.died(now, useful=False)
        self._fork_fails = True

    def _reconcile(self, now: float) -> None:
        finished = any(child.record[Word.WISH] == Wish.FINISHED for child in self._nursery.all)
        able = not finished and self._nursery.templates.can_fork(self._reload.wanted)
        wanted, on_trial = self._reload.wanted.number, self._reload.on_trial
        seats = [child.seat(wanted, on_trial=on_trial) for child in self._nursery.all]
        plan = reconcile(seats, self._procs, lambda slot: able and self._slots.may_fork(slot, now))
        for child in self._nursery.all:
            if child.index in plan.drain:
                child.drain(self._settings.grace)
        for slot in plan.fork:
            if not self._slots.may_fork(slot, now):
                continue
            if self._nursery.fork(slot, self._reload.wanted, first=self._reload.good is None):
                self._forked()
            else:
                self._failed_fork(slot, now)

    def _judge(self, now: float) -> None:
        """Give up when children crash, or cannot be forked, again and again; Redis being away is no crash."""
        children = self._nursery.all
        waiting = [child for child in children if child.waits_for_redis(now)]
        if waiting or any(child.stable(now) for child in children):
            self._patience.well()
        if self._patience.over(now):
            why = ": forks fail, look at the limits for processes and memory" if self._fork_fails else ""
            log.error("no child has been stable for %g s%s: giving up", GIVE_UP, why)
            self._stop(Exit.OSERR if self._fork_fails else Exit.SOFTWARE)
