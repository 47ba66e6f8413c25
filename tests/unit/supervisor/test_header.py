"""What a parent shows of itself."""

import os
import time
from pathlib import Path

import pytest

from multiworker.supervisor.header import Header, Phase
from multiworker.supervisor.reload import FAILED_BOOTS, Outcome, Reload
from multiworker.worker.scoreboard import Scoreboard
from multiworker.worker.settings import Settings
from multiworker.worker.words import Total


@pytest.fixture
def board(tmp_path: Path) -> Scoreboard:
    return Scoreboard.create(tmp_path / "board", 4)


@pytest.fixture
def header(board: Scoreboard, monkeypatch: pytest.MonkeyPatch) -> Header:
    monkeypatch.setattr("multiworker.supervisor.header.setproctitle", lambda _: None)  # the test runner's is its own
    return Header(board)


def phase_of(
    header: Header, board: Scoreboard, reload: Reload, *, quiet: bool = False, stopping: bool = False
) -> Phase:
    header.show(reload, 2, 2, quiet=quiet, stopping=stopping)
    return Phase(board.totals[Total.PHASE])


def test_phases(header: Header, board: Scoreboard) -> None:
    reload = Reload(Settings())
    assert phase_of(header, board, reload) is Phase.STARTING
    reload.succeeded(2, 2)
    assert phase_of(header, board, reload) is Phase.RUNNING
    assert phase_of(header, board, reload, quiet=True) is Phase.QUIET
    reload.ask()
    reload.begin(1.0, Settings())
    assert phase_of(header, board, reload, quiet=True) is Phase.RELOADING
    assert phase_of(header, board, reload, quiet=True, stopping=True) is Phase.STOPPING


def test_a_pass_leaves_its_time(header: Header, board: Scoreboard) -> None:
    before = time.monotonic_ns()
    header.show(Reload(Settings()), 2, 0, quiet=False, stopping=False)
    assert before <= board.totals[Total.PASSED] <= time.monotonic_ns()
    assert board.totals[Total.PARENT] == os.getpid()


def test_a_reload_that_wants_more_children_needs_them_only_when_it_is_complete(
    header: Header, board: Scoreboard
) -> None:
    reload = Reload(Settings())
    reload.succeeded(2, 2)

    def needed(procs: int) -> int:
        header.show(reload, procs, 2, quiet=False, stopping=False)
        return int(board.totals[Total.NEEDED])

    assert needed(2) == 2
    reload.begin(1.0, Settings())
    assert needed(3) == 2
    assert needed(1) == 1
    assert needed(3) == 1
    reload.succeeded(3, 3)
    assert needed(3) == 3


def test_what_became_of_a_reload_is_shown_with_its_reason(header: Header, board: Scoreboard) -> None:
    # given a reload under way
    reload = Reload(Settings())
    reload.succeeded(2, 2)
    reload.ask()
    reload.begin(1.0, Settings())
    header.show(reload, 2, 2, quiet=False, stopping=False)
    assert (board.totals[Total.ASKED], board.totals[Total.DECIDED], board.totals[Total.OUTCOME]) == (1, 0, 0)
    # when it does not boot
    for _ in range(FAILED_BOOTS):
        reload.failed(2, "no such module", useful=False)
    header.show(reload, 2, 2, quiet=False, stopping=False)
    # then that is shown
    shown = [board.totals[word] for word in (Total.DECIDED, Total.LOADED, Total.OUTCOME)]
    assert (shown, board.text) == ([1, 0, Outcome.ABANDONED], "no such module")
    at = board.totals[Total.OUTCOME_AT]
    assert at > 0
    # and its time stays
    header.show(reload, 2, 2, quiet=False, stopping=False)
    assert board.totals[Total.OUTCOME_AT] == at
