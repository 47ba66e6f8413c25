"""When an instance is well, and what is wrong if it is not."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from multiworker.cli.health import verdict
from multiworker.supervisor.header import Phase
from multiworker.worker.errors import Exit
from multiworker.worker.host import birth
from multiworker.worker.scoreboard import Record, Scoreboard
from multiworker.worker.words import State, Total, Word

SECOND = 10**9
NOW = 1000 * SECOND


@pytest.fixture
def board(tmp_path: Path) -> Scoreboard:
    """Two children, and two that are needed."""
    made = Scoreboard.create(tmp_path / "board", 4)
    for slot in (1, 2):
        index = made.free_record()
        assert index is not None
        record = made.records[index]
        record[Word.PID], record[Word.SLOT], record[Word.BIRTH] = os.getpid(), slot, birth(os.getpid())
        record[Word.STATE] = State.READY
        record[Word.BEAT] = record[Word.CONTACT] = NOW - SECOND
    made.totals[Total.PASSED], made.totals[Total.PHASE] = NOW, Phase.RUNNING
    made.totals[Total.NEEDED] = made.totals[Total.PROCS] = 2
    return made


def change(board: Scoreboard, **words: int) -> Record:
    """Change words of the second child."""
    record = board.records[1]
    for name, value in words.items():
        record[Word[name.upper()]] = value
    return record


def test_children_that_work_are_well(board: Scoreboard) -> None:
    assert verdict(board, NOW, 10.0) is None
    assert verdict(board, NOW + 8 * SECOND, 10.0) is None


@pytest.mark.parametrize("phase", [Phase.RUNNING, Phase.QUIET, Phase.RELOADING])
def test_a_reload_and_quiet_are_no_illness(board: Scoreboard, phase: Phase) -> None:
    board.totals[Total.PHASE], board.totals[Total.PROCS] = phase, 3
    assert verdict(board, NOW, 10.0) is None


@pytest.mark.parametrize(
    ("illness", "code", "reason"),
    [
        (lambda b: change(b, beat=NOW - 11 * SECOND), Exit.SOFTWARE, "its event loop has not turned for 11.0 s"),
        (lambda b: change(b, contact=NOW - 13 * SECOND), Exit.UNAVAILABLE, "no answer from Redis for 12.0 s"),
        (
            lambda b: change(b, state=State.CONNECT),
            Exit.UNAVAILABLE,
            "1 of 2 children are ready, others wait for Redis",
        ),
        (lambda b: change(b, state=State.IMPORT), Exit.SOFTWARE, "1 of 2 children are ready"),
        (lambda b: change(b, leaving=1), Exit.SOFTWARE, "1 of 2 children are ready"),
        (lambda b: change(b, state=State.FREE), Exit.SOFTWARE, "1 of 2 children are ready"),
        (lambda b: change(b, birth=1), Exit.SOFTWARE, "is dead"),
        (lambda b: b.totals.__setitem__(Total.PASSED, NOW - 12 * SECOND), Exit.SOFTWARE, "the parent has not looked"),
        (lambda b: b.totals.__setitem__(Total.PHASE, Phase.STOPPING), Exit.SOFTWARE, "it is stopping"),
    ],
)
def test_illnesses(board: Scoreboard, illness: Callable[[Scoreboard], object], code: Exit, reason: str) -> None:
    illness(board)
    found = verdict(board, NOW, 10.0)
    assert found
    assert found[0] is code
    assert reason in found[1]


def test_a_loop_that_stands_still_is_not_blamed_on_redis(board: Scoreboard) -> None:
    change(board, beat=NOW - 20 * SECOND, contact=NOW - 24 * SECOND)
    found = verdict(board, NOW, 10.0)
    assert found
    assert found == (Exit.SOFTWARE, f"child 2 (pid {os.getpid()}): its event loop has not turned for 20.0 s")


def test_children_that_drain_may_be_silent(board: Scoreboard) -> None:
    change(board, leaving=1, contact=NOW - 100 * SECOND)
    board.totals[Total.NEEDED] = 1
    assert verdict(board, NOW, 10.0) is None
