"""The templates: processes that have imported what children need, and fork them for the parent.

What they have imported is shared by their children, and a child that died is back in milliseconds. A reload starts a
new one. That of the last good generation stays until the next is good: a reload that is abandoned leaves its code.

Each begins without orders, and imports the engine meanwhile: the first one while the settings are still being read.
"""

import logging
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from multiworker.supervisor import lives, process
from multiworker.supervisor.children import Child
from multiworker.supervisor.letter import Letter
from multiworker.supervisor.lives import Birth
from multiworker.supervisor.reload import Generation
from multiworker.worker.scoreboard import Scoreboard
from multiworker.worker.words import State, Word

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


@dataclass(kw_only=True)
class Begun:
    """A template without orders; it holds nothing, so it may be killed.

    Args:
        pid: its process.
        requests: file descriptor of the pipe on which it waits.
        letter: where it looks for its orders.
    """

    pid: int
    requests: int
    letter: Letter
    waits: bool = True
    """It has no orders yet, and has not ended."""

    def order(self, board: Scoreboard, generation: Generation, index: int) -> None:
        """Tell it what to do.

        Raises:
            OSError: it has ended.
        """
        self.waits = False
        lives.order(self.letter, board, generation, index)
        os.write(self.requests, b"!")
        self.letter.close()

    @property
    def fds(self) -> list[int]:
        """File descriptors that no other process may have."""
        return [self.requests, self.letter.fd]

    def close(self) -> None:
        """Let go of it: it has ended without orders."""
        self.waits = False
        self.letter.close()
        os.close(self.requests)


def begin(board: Scoreboard | None, close: Sequence[int]) -> Begun:
    """Fork a template, which begins at once to import the engine.

    Args:
        board: the scoreboard, if there is one yet.
        close: file descriptors that it must not keep.

    Raises:
        OSError: the system refuses.
    """
    process.become_subreaper()
    letter = Letter()
    theirs, ours = os.pipe2(os.O_CLOEXEC)
    try:
        pid = process.fork(lambda: lives.template(board, letter, theirs), close=[*close, ours])
    except OSError:
        letter.close()
        os.close(ours)
        raise
    finally:
        os.close(theirs)
    return Begun(pid=pid, requests=ours, letter=letter)


class Templates:
    """At most one for each generation that may still need children.

    Args:
        board: the scoreboard.
        locks: file descriptors that children must not keep.
        begun: one that was begun before there was a scoreboard; the first generation gets it.
    """

    def __init__(self, board: Scoreboard, locks: Sequence[int], begun: Begun | None) -> None:
        self._board = board
        self._locks = locks
        self._begun = begun
        self.by_pid: dict[int, Template] = {}

    @property
    def fds(self) -> list[int]:
        """File descriptors that no other process may have: a template ends when its parent has closed its pipe."""
        waiting = self._begun.fds if self._begun else []
        return [*waiting, *(template.requests for template in self.by_pid.values())]

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
        """Fork a template, or take the one that has begun, and give it its orders.

        Returns:
            False if the system refuses.
        """
        index = self._board.free_record()
        if index is None:
            return False
        try:
            begun, self._begun = self._begun or begin(self._board, [*self._locks, *self.fds]), None
        except OSError as error:
            log.error("cannot fork: %s", error.strerror)
            return False
        record = self._board.records[index]
        record[Word.GENERATION], record[Word.STARTED] = generation.number, time.monotonic_ns()
        record[Word.STATE], record[Word.PID] = State.TEMPLATE_IMPORT, begun.pid
        try:
            begun.order(self._board, generation, index)
        except OSError as error:
            log.error("template (pid %d) has ended: %s", begun.pid, error.strerror)
            record.clear()
            begun.close()
            return False
        self.by_pid[begun.pid] = Template(
            begun.pid, SLOT, generation.number, index, record, time.monotonic(), requests=begun.requests
        )
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
