"""One child's books."""

from pathlib import Path

from multiworker.worker.answers import Recovered
from multiworker.worker.ledger import Ledger
from multiworker.worker.scoreboard import Scoreboard
from multiworker.worker.words import State, Word


def test_what_redis_knows_of_a_gone_worker_is_summed_over_its_queues() -> None:
    first = Recovered(given_back=1, buried=2, claimed=15, done=3, retried=4, dead=5)
    second = Recovered(given_back=10, buried=0, claimed=10, done=0, retried=0, dead=0)
    assert Ledger.of([first, second]) == Ledger(claimed=25, done=3, retried=4, dead=7, given_back=11)
    assert Ledger.of([]) == Ledger()


def test_the_books_that_redis_keeps_add_up_after_a_crash() -> None:
    ledger = Ledger.of([Recovered(given_back=1, buried=2, claimed=15, done=3, retried=4, dead=5)])
    assert ledger.claimed == ledger.done + ledger.retried + ledger.dead + ledger.given_back


def test_the_scoreboard_shows_the_books(tmp_path: Path) -> None:
    board = Scoreboard.create(tmp_path / "board", 1)
    board.records[board.free_record() or 0][Word.STATE] = State.READY
    Ledger(claimed=9, done=1, retried=2, dead=3, given_back=1).write(board.records[0], 2)
    books = {"claimed": 9, "done": 1, "retried": 2, "dead": 3, "given_back": 1, "in_flight": 2}
    assert board.ledger() == books
