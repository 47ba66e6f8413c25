"""The ledger over all children, and what is left of --max-tasks."""

import random
from pathlib import Path

import pytest

from multiworker.supervisor import bookkeeping
from multiworker.worker.scoreboard import Record, Scoreboard
from multiworker.worker.words import State, Total, Word


@pytest.fixture
def board(tmp_path: Path) -> Scoreboard:
    """A scoreboard for a few children."""
    return Scoreboard.create(tmp_path / "board", 8)


def add(board: Scoreboard, state: State = State.READY, **words: int) -> Record:
    """Add a child's record."""
    index = board.free_record()
    assert index is not None
    record = board.records[index]
    record[Word.STATE] = state
    for word, value in words.items():
        record[Word[word.upper()]] = value
    return record


def test_a_ledger_that_adds_up_says_so(board: Scoreboard) -> None:
    add(board, claimed=10, done=5, retried=2, dead=1, given_back=1, in_flight=1)
    add(board, claimed=3, in_flight=3)
    assert bookkeeping.ledger_line(board) == (
        "claimed 13 = done 5 + retried 2 + dead 1 + given back 1 + in flight 4: adds up"
    )


@pytest.mark.parametrize(("claimed", "off"), [(3, 1), (1, -1)])
def test_a_ledger_that_does_not_says_by_how_much(board: Scoreboard, claimed: int, off: int) -> None:
    add(board, claimed=claimed, done=2)
    assert bookkeeping.ledger_line(board).endswith(f": does NOT add up, by {off}")


def test_children_that_are_gone_stay_in_the_ledger(board: Scoreboard) -> None:
    record = add(board, State.SETTLED, claimed=7, done=4, given_back=3)
    before = board.ledger()
    bookkeeping.retire_settled(board, alive=[record])
    assert record[Word.STATE] == State.SETTLED
    bookkeeping.retire_settled(board, alive=[])
    assert record[Word.STATE] == State.FREE
    assert board.totals[Total.DONE] == 4
    assert board.ledger() == before


def test_only_settled_records_are_freed(board: Scoreboard) -> None:
    records = [add(board, state) for state in (State.IMPORT, State.CONNECT, State.READY, State.DRAIN, State.LOST)]
    bookkeeping.retire_settled(board, alive=[])
    assert all(record[Word.STATE] != State.FREE for record in records)


def test_somebody_is_lost_until_his_tasks_are_given_back(board: Scoreboard) -> None:
    record = add(board)
    assert not bookkeeping.lost(board)
    record[Word.STATE] = State.LOST
    assert bookkeeping.lost(board)
    record[Word.STATE] = State.SETTLED
    assert not bookkeeping.lost(board)


def test_what_counts_as_settled(board: Scoreboard) -> None:
    gone = add(board, State.SETTLED, claimed=9, done=4, retried=1, dead=1, given_back=3)
    board.retire(gone)
    add(board, claimed=5, done=2, in_flight=3)
    assert bookkeeping.settled(board) == 8


def test_a_grant_names_those_who_have_more_to_do(board: Scoreboard) -> None:
    hungry, sated = add(board), add(board, quota=40, claimed=10)
    assert bookkeeping.grant(board, asked=100, portion=10) == [hungry]
    assert hungry[Word.QUOTA] == 15
    assert sated[Word.QUOTA] == 40


@pytest.mark.parametrize("seed", range(20))
def test_grants_are_exact_whatever_dies(board: Scoreboard, seed: int) -> None:
    """Children claim, settle, and die with tasks in hand, which others then claim again."""
    chance = random.Random(seed)
    asked, portion = chance.choice([1, 7, 100]), chance.choice([1, 5, 20])
    children = [add(board), add(board), add(board)]
    for _ in range(5000):
        bookkeeping.grant(board, asked, portion)
        child = chance.choice(children)
        held = child[Word.IN_FLIGHT]
        match chance.randrange(12):
            case 0:  # it dies, and is replaced
                child[Word.GIVEN_BACK] += held
                child[Word.IN_FLIGHT] = 0
                child[Word.STATE] = State.SETTLED
                bookkeeping.retire_settled(board, [one for one in children if one is not child])
                children[children.index(child)] = add(board)
            case 1 | 2 | 3 | 4 | 5:  # it settles
                ended = chance.randint(0, held)
                child[Word.IN_FLIGHT] = held - ended
                child[chance.choice([Word.DONE, Word.RETRIED, Word.DEAD])] += ended
            case _:  # it claims
                most = child[Word.QUOTA] - child[Word.CLAIMED]
                taken = chance.randint(0, max(0, most))
                child[Word.CLAIMED] += taken
                child[Word.IN_FLIGHT] = held + taken
        assert bookkeeping.settled(board) <= asked
        if bookkeeping.settled(board) == asked:
            break
    assert bookkeeping.settled(board) == asked
    assert board.ledger()["in_flight"] == 0
    assert bookkeeping.ledger_line(board).endswith("adds up")
