"""What `reload --wait` makes of the page."""

from pathlib import Path

import pytest

from multiworker.cli.reload import WaitForRedis, outcome
from multiworker.supervisor.children import CONNECT_TIME
from multiworker.supervisor.reload import Outcome
from multiworker.worker.scoreboard import Scoreboard
from multiworker.worker.words import State, Total, Word


@pytest.fixture
def board(tmp_path: Path) -> Scoreboard:
    made = Scoreboard.create(tmp_path / "board", 2)
    made.free_record()
    return made


@pytest.mark.parametrize(
    ("decided", "loaded", "last", "found"),
    [
        (0, 0, Outcome.NONE, None),
        (1, 1, Outcome.LOADED, None),
        (1, 0, Outcome.REFUSED, None),
        (2, 2, Outcome.LOADED, Outcome.LOADED),
        (2, 1, Outcome.REFUSED, Outcome.REFUSED),
        (2, 0, Outcome.ABANDONED, Outcome.ABANDONED),
        (5, 4, Outcome.ABANDONED, Outcome.LOADED),
        (5, 5, Outcome.LOADED, Outcome.LOADED),
        (5, 1, Outcome.REFUSED, Outcome.REFUSED),
    ],
)
def test_the_second_request_is_answered_by_its_reload_or_a_later_one(
    board: Scoreboard, decided: int, loaded: int, last: Outcome, found: Outcome | None
) -> None:
    board.totals[Total.DECIDED], board.totals[Total.LOADED], board.totals[Total.OUTCOME] = decided, loaded, last
    assert outcome(board, 2) is found


def test_a_wait_for_redis_is_told_once_and_only_when_it_takes_long(board: Scoreboard) -> None:
    record, wait, late = board.records[0], WaitForRedis(), CONNECT_TIME + 0.1
    record[Word.STATE] = State.CONNECT
    assert not wait.begins(board, 10.0)
    assert not wait.begins(board, 10.0 + CONNECT_TIME / 2)
    record[Word.STATE] = State.READY
    assert not wait.begins(board, 10.0 + late)
    record[Word.STATE] = State.CONNECT
    assert not wait.begins(board, 20.0)
    assert wait.begins(board, 20.0 + late)
    assert not wait.begins(board, 30.0 + late)
