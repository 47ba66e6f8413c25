"""The children: forked, watched, nudged, and what they leave behind when they die."""

import logging
import os
import random
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from multiworker.supervisor import bookkeeping, lives, process, signals
from multiworker.supervisor.children import Child
from multiworker.supervisor.lives import Birth
from multiworker.supervisor.plan import Stage
from multiworker.supervisor.reload import Generation
from multiworker.supervisor.resolver import Resolver
from multiworker.supervisor.templates import Begun, Templates
from multiworker.worker.scoreboard import Scoreboard
from multiworker.worker.settings import Settings
from multiworker.worker.words import NO_QUOTA, State, Word

if TYPE_CHECKING:  # imported only to run an embedded Redis
    from multiworker.supervisor.redis_server import RedisServer

log = logging.getLogger("multiworker.supervisor")

RECOVER_AGAIN = 1.0
"""Seconds after which another child is asked to give a dead one's tasks back."""
SWEEP_TIME = 10.0
"""Seconds that the last sweep may take before the parent leaves the rest to the lease."""
BIRTH_TIME = 10.0
"""Seconds that a template gets to fork a child."""
ORPHAN_TIME = 1.0
"""Seconds after a template's death in which a child that it had begun to fork may still come."""
_TICK = 0.25


class Nursery:
    """All children of one parent.

    Args:
        board: the scoreboard.
        locks: file descriptors that children must not keep.
        server: the embedded Redis, if it is this parent's to run.
        begun: a template that has begun before there was a scoreboard.
    """

    def __init__(
        self, board: Scoreboard, locks: Sequence[int], server: "RedisServer | None", begun: Begun | None
    ) -> None:
        self._board = board
        self._locks = locks
        self._server = server
        self._asked_at = 0.0
        self._unborn: list[Child] = []
        self.templates = Templates(board, locks, begun)
        self.resolver = Resolver()
        self.quiet = False
        self.by_pid: dict[int, Child] = {}

    @property
    def all(self) -> list[Child]:
        """Every child that has not been reaped, or that a template is to fork."""
        return [*self.by_pid.values(), *self._unborn]

    @property
    def empty(self) -> bool:
        """No process is left."""
        return not (self.by_pid or self._unborn or self.templates.by_pid or self.resolver.pid)

    def ready(self, generation: int | None = None) -> int:
        """Count the ready children, of one generation or of all."""
        ready = [child for child in self.all if child.stage is Stage.READY]
        return sum(generation in (None, child.generation) for child in ready)

    def fork(self, slot: int, generation: Generation, *, first: bool) -> bool:
        """Have the generation's template fork a child.

        Args:
            slot: which of the wanted places it fills, from 1.
            generation: whose code and settings it runs; its template can fork.
            first: nobody has been ready yet.

        Returns:
            False if that has just ended, or the scoreboard is full.
        """
        template = self.templates.of(generation)
        index = self._board.free_record()
        if index is None or template is None:
            return False
        record = self._board.records[index]
        asked = Birth(index, time.monotonic_ns(), slot, first)
        record[Word.SLOT], record[Word.GENERATION] = slot, generation.number
        record[Word.STARTED] = asked.started
        record[Word.QUOTA] = NO_QUOTA if generation.settings.max_tasks is None else 0
        record[Word.QUIET] = int(self.quiet)
        record[Word.STATE] = State.IMPORT
        try:
            template.ask(asked)
        except OSError as error:
            log.error("%s cannot fork: %s", template.name, error.strerror)
            record.clear()
            return False
        self._unborn.append(Child(0, slot, generation.number, index, record, time.monotonic()))
        return True

    def _adopt(self) -> None:
        """Take in the children that templates have forked."""
        for child in [child for child in self._unborn if child.record[Word.PID]]:
            self._unborn.remove(child)
            child.adopt(child.record[Word.PID])
            self.by_pid[child.pid] = child

    def stillborn(self, now: float) -> list[Child]:
        """Give up children that no template has forked, or can fork any more.

        Args:
            now: monotonic seconds.
        """
        self._adopt()
        refused = [child for child in self._unborn if child.record[Word.STATE] == State.SETTLED]
        late = [child for child in self._unborn if child not in refused and now - child.born > BIRTH_TIME]
        for child in [*refused, *late]:
            self._unborn.remove(child)
            child.record.clear()
            log.error("child %d could not be forked by its template", child.slot)
        for template in self.templates.by_pid.values():
            if template.generation in [child.generation for child in late]:
                template.kill()
        return [*refused, *late]

    def cancel_births(self) -> None:
        """Have nobody be born any more."""
        self._adopt()
        for child in self._unborn:
            child.record.clear()
        self._unborn.clear()

    def __contains__(self, pid: object) -> bool:
        """Tell whether a process belongs to this parent, for reap()."""
        self._adopt()
        server = self._server.pid if self._server else 0
        return pid in self.by_pid or pid in self.templates.by_pid or pid in (server, self.resolver.pid)

    def reap(self) -> list[tuple[Child, int]]:
        """Collect the children and templates that have ended; resolver and embedded Redis are told of their own end.

        Returns:
            Each, with its exit code or minus the signal that ended it. What it held is still to be given back.
        """
        now = time.monotonic()
        ended: list[tuple[Child, int]] = []
        self._adopt()
        for pid, code in process.reap(self):
            if self.resolver.reaped(pid, code) or (self._server and self._server.reaped(pid, code, now)):
                continue
            child = self.by_pid.pop(pid, None) or self._template_reaped(pid, now)
            if child:
                ended.append((child, code))
            else:
                log.debug("reaped a stranger, pid %d", pid)
        return ended

    def _template_reaped(self, pid: int, now: float) -> Child | None:
        template = self.templates.reaped(pid)
        for child in self._unborn:
            if template and child.generation == template.generation:
                child.born = min(child.born, now - BIRTH_TIME + ORPHAN_TIME)
        return template

    def recover_lost(self, now: float) -> None:
        """Ask one living child to give back what a dead one holds; another one, if it takes long or dies itself."""
        able = [child for child in self.all if child.record[Word.STATE] in (State.READY, State.DRAIN)]
        too_long = now - self._asked_at >= RECOVER_AGAIN
        for record in bookkeeping.lost(self._board):
            if record[Word.RECOVERER] in self.by_pid and not too_long:
                continue
            record[Word.RECOVERER] = 0
            if able:
                helper = random.choice(able)  # noqa: S311 - whoever
                record[Word.RECOVERER] = helper.pid
                self._asked_at = now
                helper.nudge()

    def retire(self) -> None:
        """Free the records of children that are gone and whose tasks are accounted for."""
        bookkeeping.retire_settled(self._board, [child.record for child in self.all])

    def hand_out_quota(self, settings: Settings) -> bool:
        """Let children claim what is left of ``--max-tasks``.

        Returns:
            True if all of it is settled.
        """
        if settings.max_tasks is None:
            return False
        if bookkeeping.settled(self._board) >= settings.max_tasks:
            return True
        granted = bookkeeping.grant(self._board, settings.max_tasks, settings.concurrency)
        for child in self.all:
            if child.record in granted:
                child.nudge()
        return False

    def toggle_quiet(self) -> None:
        """Have all children take nothing more, or take tasks again."""
        self.quiet = not self.quiet
        for child in self.all:
            child.record[Word.QUIET] = int(self.quiet)
            child.nudge()

    def read(self, settings: Callable[[], Settings]) -> None:
        """Have the settings read, by a process of its own; see Resolver.answer()."""
        self.resolver.begin(settings, close=[*self._locks, *self.templates.fds])

    def watch(self) -> None:
        """Fork what sends SIGHUP when code changes. It ends with this process, and nobody waits for it."""
        parent = os.getpid()
        try:
            process.fork(
                lambda: lives.watch(Path.cwd(), lambda: process.send(parent, signal.SIGHUP)),
                close=[*self._locks, *self.templates.fds],
            )
        except OSError as error:
            log.error("cannot fork, changed code is not noticed: %s", error.strerror)

    def sweep(self, settings: Settings) -> None:
        """With no child left, fork one that only gives back what dead ones hold."""
        if not bookkeeping.lost(self._board):
            return
        try:
            pid = process.fork(lambda: lives.sweep(self._board, settings), close=self._locks)
        except OSError as error:
            log.error("cannot fork, tasks of dead children stay until their lease is over: %s", error.strerror)
            return
        deadline = time.monotonic() + SWEEP_TIME
        while not self._has_ended(pid):
            if time.monotonic() >= deadline:
                process.send(pid, signal.SIGKILL)
            for _ in signals.arrivals(_TICK):
                continue
        self.retire()

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
