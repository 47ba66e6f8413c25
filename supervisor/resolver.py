"""Who reads the settings: a process of its own, as the parent has neither what it takes nor the time for it."""

import signal
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from multiworker.supervisor import lives, process
from multiworker.supervisor.children import say_code
from multiworker.supervisor.letter import Letter, from_plain
from multiworker.worker.errors import Exit
from multiworker.worker.settings import Settings

PATIENCE = 35.0
"""Seconds that all of it may take; a Django project's settings get 30 of them, and then are named as the reason."""


class Answer(NamedTuple):
    """What came of it.

    Args:
        settings: validated; None if there are none.
        trouble: why not, in one line; empty if that has been said already, or nothing is wrong.
        code: the exit code of a parent that has no other settings.
    """

    settings: Settings | None = None
    trouble: str = ""
    code: int = Exit.OK


class Resolver:
    """At most one such process."""

    def __init__(self) -> None:
        self.pid = 0
        """Its process id; 0 while there is none."""
        self._letter: Letter | None = None
        self._begun_at = 0.0
        self._overdue = False
        self._answer: Answer | None = None

    def begin(self, read: Callable[[], Settings], close: Sequence[int]) -> None:
        """Have the settings read; if the system refuses to fork, that is the answer.

        Args:
            read: how; see lives.resolver().
            close: file descriptors that the process must not keep.
        """
        self._begun_at, self._overdue, self._answer = time.monotonic(), False, None
        try:
            letter = self._letter = Letter()
            self.pid = process.fork(lambda: lives.resolver(read, letter), close=close)
        except OSError as error:
            self._close()
            self._answer = Answer(trouble=f"cannot fork: {error.strerror}", code=Exit.OSERR)

    def reaped(self, pid: int, code: int) -> bool:
        """Note that a process has ended.

        Returns:
            True if it was this one.
        """
        if not self.pid or pid != self.pid:
            return False
        self.pid = 0
        said = self._letter.read() if self._letter else {}
        self._close()
        if self._overdue:
            said = {"error": f"the settings could not be read within {PATIENCE:g} s"}
        self._answer = answer_of(said) or Answer(
            trouble=f"the process that reads the settings ended: {say_code(code)}", code=Exit.SOFTWARE
        )
        return True

    def answer(self, now: float) -> Answer | None:
        """Return the answer, once; None as long as there is none. A process that takes too long is ended.

        Args:
            now: monotonic seconds.
        """
        if self.pid and now - self._begun_at > PATIENCE:
            self._overdue = True
            process.send(self.pid, signal.SIGKILL)
        answer, self._answer = self._answer, None
        return answer

    def cancel(self) -> None:
        """End it: nobody wants to know any more. What it has started goes with it, when it is reaped."""
        if self.pid:
            process.send(self.pid, signal.SIGKILL)

    def _close(self) -> None:
        if self._letter:
            self._letter.close()
        self._letter = None


def answer_of(said: dict[str, object]) -> Answer | None:
    """Return the answer that a letter holds; None if it is empty."""
    if isinstance(fields := said.get("settings"), dict):
        return Answer(from_plain(fields))
    if "exit" in said:
        return Answer(code=int(str(said["exit"])))
    if "error" in said:
        return Answer(trouble=str(said["error"]), code=Exit.SOFTWARE)
    return None
