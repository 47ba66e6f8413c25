"""A scoreboard in plain numbers, and how people see them."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multiworker.cli.facts import ParentFacts, Usage, facts
from multiworker.cli.status import document, spell, summary, table
from multiworker.supervisor.header import Phase
from multiworker.supervisor.reload import Outcome
from multiworker.worker.scoreboard import Record, Scoreboard
from multiworker.worker.words import State, Total, Word

SECOND = 10**9
NOW = 1000 * SECOND


@pytest.fixture
def board(tmp_path: Path) -> Scoreboard:
    """A parent of three, 100 s old, with one child ready in slot 1."""
    made = Scoreboard.create(tmp_path / "board", 6)
    words = {Total.STARTED: NOW - 100 * SECOND, Total.PASSED: NOW - SECOND // 4, Total.PHASE: Phase.RUNNING}
    for word, value in {**words, Total.GENERATION: 1, Total.GOOD_GENERATION: 1, Total.PROCS: 3}.items():
        made.totals[word] = value
    add(made, 11, 1)
    return made


def add(board: Scoreboard, pid: int, slot: int, state: State = State.READY, generation: int = 1) -> Record:
    index = board.free_record()
    assert index is not None
    record = board.records[index]
    record[Word.PID], record[Word.SLOT], record[Word.GENERATION], record[Word.STATE] = pid, slot, generation, state
    record[Word.STARTED], record[Word.BEAT], record[Word.CONTACT] = NOW - 50 * SECOND, NOW - SECOND, NOW - 2 * SECOND
    return record


def seen(
    board: Scoreboard, *alive: int, before: Scoreboard | None = None, parent: bool = True, name: str | None = None
) -> ParentFacts:
    usages = {pid: Usage(32 * 2**20, 12.5) for pid in alive}
    return facts(name, board, before or board, NOW, 0.5, usages, alive=parent)


def test_a_child_is_told_by_its_slot(board: Scoreboard) -> None:
    add(board, 12, 2)
    found = seen(board, 11, 12)
    first = found.children[0]
    assert (first.slot, first.pid, first.generation, first.state) == (1, 11, 1, "ready")
    assert (first.uptime, first.beat_age, first.redis_age) == (50.0, 1.0, 2.0)
    assert (first.rss, first.cpu) == (32 * 2**20, 12.5)
    assert (found.pid, found.state, found.uptime, found.pass_age) == (os.getpid(), "running", 100.0, 0.25)
    assert (found.ready, found.wanted) == (2, 3)
    assert found.reload is None


def test_a_slot_without_a_child_is_shown_with_what_died_in_it(board: Scoreboard) -> None:
    board.slots[2].died(-9)
    empty = seen(board, 11).children[2]
    assert (empty.slot, empty.pid, empty.state, empty.restarts, empty.last_exit) == (
        3,
        None,
        "down",
        1,
        "signal 9 (SIGKILL)",
    )
    board.slots[2].died(1)
    assert seen(board, 11).children[2].last_exit == "exit code 1"


@pytest.mark.parametrize(
    ("state", "leaving", "alive", "shown"),
    [
        (State.IMPORT, 0, True, "booting"),
        (State.CONNECT, 0, True, "connecting"),
        (State.READY, 0, True, "ready"),
        (State.READY, 1, True, "draining"),
        (State.DRAIN, 1, True, "draining"),
        (State.DRAIN, 0, True, "draining"),
        (State.READY, 0, False, "dead"),
        (State.READY, 1, False, "dead"),
        (State.LOST, 0, False, "lost"),
        (State.SETTLED, 1, False, "left"),
    ],
)
def test_the_state_of_a_child(board: Scoreboard, state: State, leaving: int, alive: bool, shown: str) -> None:  # noqa: FBT001
    record = add(board, 12, 2, state)
    record[Word.LEAVING] = leaving
    assert seen(board, *([11, 12] if alive else [11])).children[1].state == shown


def test_both_children_of_a_slot_are_shown_during_a_reload(board: Scoreboard) -> None:
    add(board, 21, 1, State.IMPORT, 2)[Word.STARTED] = NOW
    board.totals[Total.PHASE], board.totals[Total.GENERATION] = Phase.RELOADING, 2
    found = seen(board, 11, 21)
    assert [(child.slot, child.pid) for child in found.children] == [(1, 21), (1, 11), (2, None), (3, None)]
    assert "reloading" in summary(found)[0]
    assert "generation 2 after 1, 1 of 3 children ready" in summary(found)[0]


def test_tasks_a_second_are_those_that_ended_between_two_looks(board: Scoreboard) -> None:
    record = board.records[0]
    record[Word.DONE] = 100
    before = board.copy()
    record[Word.DONE], record[Word.RETRIED], record[Word.DEAD], record[Word.CLAIMED] = 110, 3, 2, 500
    add(board, 12, 2)[Word.DONE] = 5
    found = seen(board, 11, 12, before=before)
    assert [child.tasks_per_second for child in found.children] == [30.0, None, None]
    assert found.tasks_per_second == 40.0
    assert found.tasks["done"] == 115


def test_a_record_that_is_used_again_has_no_rate(board: Scoreboard) -> None:
    before = board.copy()
    board.records[0][Word.PID], board.records[0][Word.DONE] = 99, 1
    assert seen(board, 99, before=before).children[0].tasks_per_second is None


@pytest.mark.parametrize(
    ("outcome", "text", "line"),
    [
        (Outcome.LOADED, "an older failure", "last reload: loaded 5.0s ago"),
        (Outcome.REFUSED, "no such option", "last reload: refused 5.0s ago: no such option"),
        (Outcome.ABANDONED, "ImportError: x", "last reload: abandoned 5.0s ago: ImportError: x"),
    ],
)
def test_the_last_reload(board: Scoreboard, outcome: Outcome, text: str, line: str) -> None:
    board.totals[Total.OUTCOME], board.totals[Total.OUTCOME_AT], board.text = outcome, NOW - 5 * SECOND, text
    assert line in summary(seen(board, 11))


def test_a_parent_that_hangs_or_is_dead_is_told_as_such(board: Scoreboard) -> None:
    assert summary(seen(board, 11, name="blue"))[0].startswith(f"multiworker blue: running, pid {os.getpid()}, up 100s")
    assert len(summary(seen(board, 11))) == 2
    board.totals[Total.PASSED] = NOW - 60 * SECOND
    assert "the parent hangs: it has not looked after its children for 60s" in summary(seen(board, 11))
    add(board, 12, 2)
    dead = seen(board, 11, parent=False)
    assert (dead.state, [child.state for child in dead.children[:2]]) == ("dead", ["ready", "dead"])
    assert "was killed or crashed; 1 of its children still drain" in summary(dead)[0]
    assert "none of its children is left" in summary(seen(board, parent=False))[0]


def test_all_of_it_is_json(board: Scoreboard) -> None:
    told = json.loads(json.dumps(document(seen(board, 11))))
    assert told["last_reload"] is None
    assert told["children"][0]["pid"] == 11


@pytest.mark.parametrize("width", [None, 300, 120, 100, 80])
def test_columns_are_aligned_and_fit(board: Scoreboard, width: int | None) -> None:
    # given children with large and small numbers
    for slot in (2, 3):
        record = add(board, 4_194_303, slot, State.CONNECT, 1000 * slot)
        for word in (Word.DONE, Word.RETRIED, Word.DEAD, Word.GIVEN_BACK, Word.IN_FLIGHT):
            record[word] = 1000**slot // 1000
    board.slots[0].died(-11)
    # when they are shown
    head, rows = table(seen(board, 11, 4_194_303).children, width)
    # then each column is as wide as its largest cell, and slot, pid and state are always there
    assert all([len(cell) for cell in row] == [len(cell) for cell in head] for row in rows)
    names = [name.strip() for name in head]
    assert {"slot", "pid", "state", "busy", "tasks/s", "done"} <= set(names)
    if width is None:
        assert len(names) == 17
    elif width >= 100:
        assert len("  ".join(head)) <= width


def test_an_ordinary_instance_fits_into_80_columns_with_what_counts(board: Scoreboard) -> None:
    add(board, 4_194_303, 2)[Word.DONE] = 12_345_678
    head, _ = table(seen(board, 11, 4_194_303).children, 80)
    assert len("  ".join(head)) <= 80
    assert {"gen", "up", "retried", "dead", "cpu", "rss"} <= {name.strip() for name in head}


def test_without_children_there_is_no_table() -> None:
    assert table([], 80) == ([], [])


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (0.0, "0.0s"),
        (9.96, "10.0s"),
        (59.4, "59s"),
        (119.0, "119s"),
        (120.0, "2m"),
        (7200.0, "2h"),
        (172_800.0, "2d"),
    ],
)
def test_times(seconds: float | None, text: str) -> None:
    assert spell(seconds) == text


@given(st.floats(0, 86400 * 9999))
def test_times_are_short(seconds: float) -> None:
    assert len(spell(seconds)) <= 5
