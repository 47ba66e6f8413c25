"""The shared page: words that go in come out, also in another process, and the books add up."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multiworker.worker.scoreboard import TEXT_BYTES, Scoreboard
from multiworker.worker.words import COUNTERS, NO_QUOTA, State, Total, Wish, Word


@pytest.fixture
def board(tmp_path: Path) -> Scoreboard:
    return Scoreboard.create(tmp_path / "board", 4)


def in_another_process(work: object) -> None:
    """Run a function in a forked process; the page is shared with it."""
    assert callable(work)
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException:  # noqa: BLE001 - this process must not return into the test runner
            os._exit(1)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0


def test_the_page_is_a_private_file_of_full_size(board: Scoreboard) -> None:
    found = board.path.stat()
    assert (found.st_mode & 0o777, found.st_size) == (0o600, 96 * 8 + 4 * 100 * 8)


def test_a_new_page_is_empty_and_says_whose_it_is(board: Scoreboard) -> None:
    assert board.present == []
    assert board.totals[Total.PARENT] == os.getpid()
    assert board.totals[Total.STARTED] > 0
    assert set(board.ledger().values()) == {0}


def test_a_page_replaces_an_old_one_and_never_follows_a_link(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine")
    (tmp_path / "board").symlink_to(precious)
    Scoreboard.create(tmp_path / "board", 1)
    assert precious.read_text() == "mine"
    assert not (tmp_path / "board").is_symlink()


def test_what_a_child_writes_everybody_reads(board: Scoreboard) -> None:
    index = board.free_record()
    assert index == 0

    def write() -> None:
        record = board.records[index]
        record.worker = "host-1-ab"
        record[Word.CLAIMED] = 2**63 + 5
        record.ending = -9
        record[Word.STATE] = State.READY

    in_another_process(write)
    reader = Scoreboard.open(board.path).present
    assert len(reader) == 1
    assert (reader[0].worker, reader[0][Word.CLAIMED], reader[0].ending) == ("host-1-ab", 2**63 + 5, -9)
    assert reader[0][Word.STATE] == State.READY


@given(code=st.integers(-64, 255))
def test_an_ending_is_an_exit_code_or_minus_a_signal(code: int) -> None:
    record = Scoreboard.create(Path(f"/dev/shm/mw-test-{os.getpid()}"), 1).records[0]
    Path(f"/dev/shm/mw-test-{os.getpid()}").unlink()
    record.ending = code
    assert record.ending == code


def test_a_worker_id_fills_its_place_and_no_more(board: Scoreboard) -> None:
    first, second = board.records[:2]
    second[Word.PID] = 7
    first.worker = "x" * 128
    first.worker = "short"
    assert (first.worker, second[Word.PID], second.worker) == ("short", 7, "")
    with pytest.raises(ValueError, match="at most 128 bytes"):
        first.worker = "x" * 129
    with pytest.raises(UnicodeEncodeError):
        first.worker = "\u00e9"


def test_words_do_not_overlap() -> None:
    assert len({int(word) for word in Word}) == len(Word)
    assert max(Word) < 48, "the worker id begins there"
    assert {word.name: int(word) for word in COUNTERS} == {
        total.name: int(total) for total in Total if total.name in {word.name for word in COUNTERS}
    }


def test_records_are_taken_and_freed_in_order(board: Scoreboard) -> None:
    for expected in range(4):
        index = board.free_record()
        assert index == expected
        board.records[index][Word.STATE] = State.IMPORT
    assert board.free_record() is None
    assert len(board.present) == 4

    board.retire(board.records[1])
    assert board.free_record() == 1
    assert len(board.present) == 3


def test_the_books_of_gone_children_are_kept(board: Scoreboard) -> None:
    def live(claimed: int, done: int, in_flight: int) -> None:
        index = board.free_record()
        assert index is not None
        record = board.records[index]
        record[Word.STATE] = State.SETTLED
        record[Word.CLAIMED], record[Word.DONE], record[Word.IN_FLIGHT] = claimed, done, in_flight
        record[Word.RETRIED], record[Word.DEAD], record[Word.GIVEN_BACK] = 1, 2, 3

    live(100, 90, 4)
    live(10, 0, 4)
    expected = {"claimed": 110, "done": 90, "retried": 2, "dead": 4, "given_back": 6}
    assert board.ledger() == expected | {"in_flight": 8}
    board.retire(board.records[0])
    assert board.ledger() == expected | {"in_flight": 4}
    assert board.records[0].worker == ""
    assert all(word == 0 for word in board.records[0].words)


def test_a_word_takes_no_quota_and_refuses_what_is_no_word(board: Scoreboard) -> None:
    record = board.records[0]
    record[Word.QUOTA] = NO_QUOTA
    assert record[Word.QUOTA] == NO_QUOTA
    for value in (-1, 2**64):
        with pytest.raises(ValueError, match="memoryview: invalid value"):
            record[Word.QUOTA] = value
    record[Word.WISH] = Wish.RECYCLE
    assert Wish(record[Word.WISH]) is Wish.RECYCLE


@pytest.mark.parametrize("content", [b"", b"x", b"\0" * 768, b"\0" * 769, b"\0" * 1568, os.urandom(4096)], ids=len)
def test_another_file_is_no_scoreboard(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other"
    path.write_bytes(content)
    with pytest.raises(ValueError):  # noqa: PT011 - of an empty file mmap says so in its own words
        Scoreboard.open(path)


def test_a_page_that_is_not_there_or_a_link_is_not_opened(board: Scoreboard, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(board.path)
    for path in (tmp_path / "missing", tmp_path / "link"):
        with pytest.raises(OSError, match=r"No such file|Too many levels"):
            Scoreboard.open(path)


TEXTS = st.text(st.characters(exclude_characters="\0"))


@given(text=TEXTS)
def test_a_text_is_kept_as_far_as_there_is_room(text: str) -> None:
    path = Path(f"/dev/shm/mw-text-{os.getpid()}")
    board = Scoreboard.create(path, 1)
    path.unlink()
    record = board.records[0]
    record.worker = "w" * 128
    for place in (board, record):
        place.text = "a longer one that was there before"
        place.text = text
        kept = text.encode(errors="replace").decode()
        assert kept.startswith(place.text)
        assert place.text == kept or len(place.text.encode()) > TEXT_BYTES - 4
    assert (record.worker, board.slots[0].restarts) == ("w" * 128, 0)


def test_a_slot_remembers_what_died_there_when_its_record_is_free_again(board: Scoreboard) -> None:
    slot, other = board.slots[:2]
    assert (slot.restarts, slot.last) == (0, None)
    slot.died(1)
    slot.died(-9)
    board.records[0].clear()
    board.records[1].clear()
    assert slot.restarts == 2
    assert slot.last
    assert slot.last[0] == -9
    assert slot.last[1] > 0
    assert (other.restarts, other.last) == (0, None)


def test_a_reader_cannot_write(board: Scoreboard) -> None:
    reader = Scoreboard.open(board.path)
    with pytest.raises(TypeError, match="read-only"):
        reader.records[0][Word.QUIET] = 1
    with pytest.raises(TypeError, match="read-only"):
        reader.text = "forged"


def test_a_copy_stays_as_it_is_and_holds_what_is_in_use(board: Scoreboard) -> None:
    index = board.free_record()
    assert index == 0
    board.records[0][Word.STATE] = State.READY
    board.totals[Total.PROCS] = 2
    copy = Scoreboard.open(board.path).copy()
    board.records[0][Word.STATE] = State.DRAIN
    assert [record[Word.STATE] for record in copy.present] == [State.READY]
    assert len(copy.records) == len(copy.slots) == 2
    board.totals[Total.PROCS] = 2**63
    assert len(board.copy().records) == 4
