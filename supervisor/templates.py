"""The templates: processes that have imported what children need, and fork them for the parent.

What they have imported is shared by their children, and a child that died is back in milliseconds. A reload starts a
new one. That of the last good generation stays until the next is good: a reload that is abandoned leaves its code.
"""

import logging
import os
import signal
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from multiworker.supervisor import lives, process
from multiworker.supervisor.children import Child
from multiworker.supervisor.lives import Birth
from multiworker.supervisor.process import send
from multiworker.supervisor.reload import Generation
from multiworker.worker.scoreboard import Scoreboard
from multiworker.worker.words import State, Total, Word

log = logging.getLogger("multiworker.supervisor")

SLOT = 0
"""The slot of templates, for their back-off; children's begin with 1."""


@dataclass(eq=False, kw_only=True)
class Template(Child):
    """One template.

    Args:
        requests: file descriptor of the pipe on which it is asked for children.
    """

    requests: int

    @property
    def booted(self) -> bool:
        """It has imported what it is to."""
        return self.record[Word.STATE] == State.TEMPLATE

    def ask(self, birth: Birth) -> None:
        """Have it fork a child.

        Raises:
            OSError: it has ended.
        """
        os.write(self.requests, birth.pack())


class Templates:
    """At most one for each generation that may still need children.

    Args:
        board: the scoreboard.
        locks: file descriptors that children must not keep.
    """

    def __init__(self, board: Scoreboard, locks: Sequence[int]) -> None:
        self._board = board
        self._locks = locks
        self.by_pid: dict[int, Template] = {}

    @property
    def fds(self) -> list[int]:
        """File descriptors that no other process may have: a template ends when its parent has closed its pipe."""
        return [template.requests for template in self.by_pid.values()]

    def of(self, generation: Generation) -> Template | None:
        """Return a generation's template, if it has one, be it that it still imports."""
        mine = [one for one in self.by_pid.values() if one.generation == generation.number and not one.draining]
        return mine[0] if mine else None

    def can_fork(self, generation: Generation) -> bool:
        """Tell whether children of a generation can be forked now."""
        template = self.of(generation)
        return template is not None and template.booted

    def missing(self, generations: Iterable[Generation | None]) -> list[Generation]:
        """Return those generations that have no template."""
        wanted = {one.number: one for one in generations if one}
        return [one for one in wanted.values() if not self.of(one)]

    def fork(self, generation: Generation) -> bool:
        """Fork a template.

        Returns:
            False if the system refuses.
        """
        index = self._board.free_record()
        if index is None:
            return False
        record = self._board.records[index]
        record[Word.GENERATION], record[Word.STARTED] = generation.number, time.monotonic_ns()
        record[Word.STATE] = State.TEMPLATE_IMPORT
        process.become_subreaper()
        theirs, ours = os.pipe2(os.O_CLOEXEC)
        parent = int(self._board.totals[Total.PARENT])
        try:
            pid = process.fork(
                lambda: lives.template(self._board, generation, index, theirs, lambda: send(parent, signal.SIGCHLD)),
                close=[*self._locks, *self.fds, ours],
            )
        except OSError as error:
            log.error("cannot fork: %s", error.strerror)
            record.clear()
            os.close(ours)
            return False
        finally:
            os.close(theirs)
        record[Word.PID] = pid
        self.by_pid[pid] = Template(pid, SLOT, generation.number, index, record, time.monotonic(), requests=ours)
        return True

    def retire(self, keep: Iterable[Generation | None]) -> None:
        """End the templates of other generations. They hold nothing, so they may die at once."""
        kept = {generation.number for generation in keep if generation}
        for template in self.by_pid.values():
            if template.generation not in kept:
                template.drain(0)

    def reaped(self, pid: int) -> Template | None:
        """Note that a process has ended.

        Returns:
            The template that it was.
        """
        template = self.by_pid.pop(pid, None)
        if template:
            os.close(template.requests)
        return template
