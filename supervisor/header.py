"""What the parent shows of itself: the header of the scoreboard, and its title in the list of processes."""

import time
from enum import IntEnum

from setproctitle import setproctitle

from multiworker.supervisor.reload import Reload
from multiworker.worker.scoreboard import Scoreboard
from multiworker.worker.settings import Settings
from multiworker.worker.words import Total


class Phase(IntEnum):
    """What a parent is about. The words are those of ``status``."""

    STARTING = 0
    """The first generation is not complete."""
    RUNNING = 1
    RELOADING = 2
    """A generation is to take over from a good one."""
    QUIET = 3
    """Takes nothing more until told otherwise."""
    STOPPING = 4


class Header:
    """Writes header and title, once a pass.

    Args:
        board: the scoreboard.
    """

    def __init__(self, board: Scoreboard) -> None:
        self._board = board
        self._title = ""
        self._decided = 0
        self._needed = 0

    def show(self, reload: Reload, procs: int, ready: int, *, quiet: bool, stopping: bool) -> None:
        """Show how things stand.

        Args:
            reload: which generations there are, and what became of reloads.
            procs: children that are wanted.
            ready: children that are ready.
            quiet: they take nothing more.
            stopping: the parent has been told to stop.
        """
        totals = self._board.totals
        totals[Total.PASSED] = time.monotonic_ns()
        totals[Total.GENERATION] = reload.wanted.number
        totals[Total.GOOD_GENERATION] = reload.good.number if reload.good else 0
        totals[Total.PROCS] = procs
        self._needed = totals[Total.NEEDED] = min(procs, self._needed) if reload.under_way else procs
        totals[Total.PHASE] = phase(reload, quiet=quiet, stopping=stopping)
        self._show_reloads(reload)
        title = f"multiworker: parent gen {reload.wanted.number} {ready}/{procs}{named(reload.wanted.settings)}"
        if title != self._title:
            setproctitle(title)
            self._title = title

    def _show_reloads(self, reload: Reload) -> None:
        """Show what became of them; that it is decided comes last, for whoever reads it believes the rest."""
        totals = self._board.totals
        totals[Total.ASKED] = reload.asked
        if reload.decided == self._decided:
            return
        self._board.text = reload.failure
        totals[Total.OUTCOME], totals[Total.OUTCOME_AT] = reload.outcome, time.monotonic_ns()
        totals[Total.LOADED] = reload.loaded
        self._decided = totals[Total.DECIDED] = reload.decided


def phase(reload: Reload, *, quiet: bool, stopping: bool) -> Phase:
    """Tell what a parent is about; see Header.show() for the arguments."""
    if stopping:
        return Phase.STOPPING
    if reload.good is None:
        return Phase.STARTING
    if reload.under_way:
        return Phase.RELOADING
    return Phase.QUIET if quiet else Phase.RUNNING


def named(settings: Settings) -> str:
    """Return how an instance's name is shown in process titles."""
    return f" [{settings.name}]" if settings.name else ""
