"""The parent's view of one child: where it is, what it was good for, and when it must be ended."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from multiworker.supervisor.children import (
    BEAT_FRESH,
    BEAT_LATE,
    CONNECT_TIME,
    DRAIN_MARGIN,
    DUMP_TIME,
    HEARD_FRESH,
    STABLE,
    Child,
    say_code,
)
from multiworker.supervisor.plan import Seat, Stage
from multiworker.worker.scoreboard import Scoreboard
from multiworker.worker.settings import Settings
from multiworker.worker.words import State, Why, Wish, Word

SETTINGS = Settings(grace=3, stuck_timeout=20, boot_timeout=10)


@pytest.fixture
def child(tmp_path: Path) -> Iterator[Child]:
    """A child whose process is a real one that does nothing, and whose life began now."""
    board = Scoreboard.create(tmp_path / "board", 1)
    with subprocess.Popen(["sleep", "1000"]) as process:
        record = board.records[0]
        record[Word.STATE] = State.IMPORT
        yield Child(process.pid, 1, 1, 0, record, time.monotonic())
        process.kill()


def ending(child: Child) -> int:
    """Wait for the end of the child's process, and return its exit code."""
    ended = os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert ended
    return -ended.si_status


def become_ready(child: Child) -> None:
    child.record[Word.STATE] = State.READY
    child.record[Word.BEAT] = child.record[Word.CONTACT] = time.monotonic_ns()


@pytest.mark.parametrize(
    ("state", "stage"),
    [
        (State.FREE, Stage.BOOT),
        (State.IMPORT, Stage.BOOT),
        (State.CONNECT, Stage.BOOT),
        (State.READY, Stage.READY),
        (State.DRAIN, Stage.DRAIN),
        (State.SETTLED, Stage.DRAIN),
    ],
)
def test_the_child_says_where_it_is(child: Child, state: State, stage: Stage) -> None:
    child.record[Word.STATE] = state
    assert child.stage is stage
    child.draining = True
    assert child.stage is Stage.DRAIN


def test_a_child_is_stale_when_it_is_of_another_generation_or_wants_to_be_replaced(child: Child) -> None:
    assert child.seat(1) == Seat(child.index, 1, stale=False, stage=Stage.BOOT)
    assert child.seat(2).stale
    become_ready(child)
    assert child.seat(1, on_trial=True).stage is Stage.BOOT
    assert child.seat(2, on_trial=True).stage is Stage.READY
    child.record[Word.WISH] = Wish.RECYCLE
    assert child.seat(1).stale


def test_a_child_that_waits_for_redis_has_not_booted_although_its_loop_turns(child: Child) -> None:
    child.record[Word.STATE] = State.CONNECT
    child.record[Word.BEAT] = time.monotonic_ns()
    assert not child.booted
    become_ready(child)
    assert child.booted


def test_a_child_waits_for_redis_when_it_takes_longer_to_connect_than_one_needs(child: Child) -> None:
    assert not child.waits_for_redis(100.0)
    child.record[Word.STATE] = State.CONNECT
    assert not child.waits_for_redis(200.0)
    assert not child.waits_for_redis(200.0 + CONNECT_TIME)
    assert child.waits_for_redis(200.1 + CONNECT_TIME)
    become_ready(child)
    assert not child.waits_for_redis(300.0)
    child.record[Word.STATE] = State.CONNECT
    assert not child.waits_for_redis(400.0)


def test_a_child_is_alive_while_it_imports_whatever_else_it_shows(child: Child) -> None:
    assert child.alive(child.born + 1000)


@pytest.mark.parametrize("state", [State.CONNECT, State.READY, State.DRAIN])
@pytest.mark.parametrize("heard", [Word.CONTACT, Word.MISSED])
def test_a_child_is_alive_while_its_loop_turns_and_its_requests_end(child: Child, state: State, heard: Word) -> None:
    child.record[Word.STATE] = state
    child.record[Word.BEAT], child.record[heard] = int(200e9), int(190e9)
    assert child.alive(200.0 + BEAT_FRESH)
    assert not child.alive(200.1 + BEAT_FRESH)
    child.record[Word.BEAT] = int(300e9)
    assert child.alive(190.0 + HEARD_FRESH)
    assert not child.alive(190.1 + HEARD_FRESH)


def test_a_child_is_without_redis_after_a_try_that_failed_and_until_one_that_does_not(child: Child) -> None:
    seen = [child.without_redis]
    for word, at in ((Word.MISSED, 2), (Word.CONTACT, 3)):
        child.record[word] = at
        seen.append(child.without_redis)
    assert seen == [False, True, False]


def test_a_boot_is_in_time_for_as_long_as_imports_and_redis_may_take(child: Child) -> None:
    limit = child.born + SETTINGS.boot_timeout + SETTINGS.redis_wait
    for state in (State.IMPORT, State.CONNECT):
        child.record[Word.STATE] = state
        assert child.in_time(SETTINGS, limit - 0.1)
        assert not child.in_time(SETTINGS, limit + 0.1)
    become_ready(child)
    assert not child.in_time(SETTINGS, child.born + 1)


def test_a_drain_is_in_time_until_it_is_ended(child: Child) -> None:
    child.drain(3)
    assert child.kill_at
    assert child.in_time(SETTINGS, child.kill_at - 0.1)
    assert not child.in_time(SETTINGS, child.kill_at + 0.1)
    child.kill()
    assert not child.in_time(SETTINGS, child.born)


def test_useful_is_a_child_that_settled_a_task_or_was_there_for_a_while(child: Child) -> None:
    now = child.born
    assert not child.useful(now + STABLE + 1)
    become_ready(child)
    assert not child.useful(now + 1)
    assert child.useful(now + STABLE + 1)
    child.record[Word.DEAD] = 1
    assert child.useful(now + 1)


def test_stable_is_a_child_that_has_been_ready_for_a_while(child: Child) -> None:
    assert not child.stable(child.born + STABLE + 1)
    become_ready(child)
    assert child.stable(child.born + STABLE + 1)
    assert not child.stable(child.born + STABLE - 1)


def test_draining_is_said_once_and_has_an_end(child: Child) -> None:
    assert child.record[Word.LEAVING] == 0
    child.drain(3)
    assert child.record[Word.LEAVING] == 1
    assert child.kill_at
    assert child.kill_at - time.monotonic() == pytest.approx(3 + DRAIN_MARGIN, abs=1)
    first = child.kill_at
    child.drain(1000)
    assert child.kill_at == first
    assert ending(child) == -signal.SIGTERM


def test_a_child_whose_loop_does_not_turn_is_killed_when_the_grace_is_over(child: Child) -> None:
    become_ready(child)
    child.drain(3)
    assert child.kill_at
    over = child.kill_at - DRAIN_MARGIN
    child.record[Word.BEAT] = int((over - BEAT_LATE + 0.2) * 1e9)
    child.check(SETTINGS, over + 0.1)
    assert child.kill_at
    child.record[Word.BEAT] = int((over - BEAT_LATE - 1) * 1e9)
    child.check(SETTINGS, over - 0.1)
    assert child.kill_at
    child.check(SETTINGS, over + 0.1)
    assert not child.kill_at


def test_a_child_without_a_loop_is_not_taken_for_one_whose_loop_does_not_turn(child: Child) -> None:
    child.drain(0)
    assert child.kill_at
    child.check(SETTINGS, child.kill_at - 0.1)
    assert child.kill_at


def test_a_child_that_does_not_leave_is_killed(child: Child) -> None:
    child.kill_at = child.born + 5
    child.check(SETTINGS, child.born + 4.9)
    assert child.kill_at
    child.check(SETTINGS, child.born + 5.1)
    assert ending(child) == -signal.SIGKILL


def test_a_boot_that_takes_too_long_is_ended(child: Child) -> None:
    child.check(SETTINGS, child.born + 9)
    assert not child.kill_at
    child.check(SETTINGS, child.born + 11)
    assert child.kill_at == child.born + 11 + DUMP_TIME
    assert child.trouble == "did not boot within 10 s"
    child.record.text = "what it says itself counts more"
    assert child.trouble == child.record.text
    assert ending(child) == -signal.SIGABRT


def test_waiting_for_redis_may_take_for_ever(child: Child) -> None:
    child.record[Word.STATE] = State.CONNECT
    child.record[Word.BEAT] = int((child.born + 999) * 1e9)
    child.check(SETTINGS, child.born + 1000)
    assert not child.kill_at


@pytest.mark.parametrize("state", [State.CONNECT, State.READY, State.DRAIN])
def test_a_loop_that_does_not_turn_is_ended(child: Child, state: State) -> None:
    child.record[Word.STATE] = state
    child.record[Word.BEAT] = int(child.born * 1e9)
    child.check(SETTINGS, child.born + 19)
    assert not child.kill_at
    child.check(SETTINGS, child.born + 21)
    assert ending(child) == -signal.SIGABRT


def test_a_death_is_the_tasks_fault_unless_the_parent_wanted_it(child: Child) -> None:
    become_ready(child)
    child.record.worker = "some-worker"
    child.ended(-signal.SIGSEGV)
    assert (child.record[Word.STATE], child.record[Word.WHY]) == (State.LOST, Why.DEAD)
    assert child.record.ending == -signal.SIGSEGV


def test_a_kill_after_the_grace_is_not_the_tasks_fault(child: Child) -> None:
    become_ready(child)
    child.record.worker = "some-worker"
    child.drain(3)
    child.ended(-signal.SIGKILL)
    assert (child.record[Word.STATE], child.record[Word.WHY]) == (State.LOST, Why.LEFT)


def test_a_child_that_left_by_itself_in_order_blames_nobody(child: Child) -> None:
    child.record.worker = "some-worker"
    child.record[Word.STATE] = State.DRAIN
    child.ended(0)
    assert (child.record[Word.STATE], child.record[Word.WHY]) == (State.LOST, Why.LEFT)


def test_a_child_that_exits_in_the_middle_of_its_work_is_dead_whatever_it_says(child: Child) -> None:
    become_ready(child)
    child.record.worker = "some-worker"
    assert not child.in_order
    child.ended(0)
    assert (child.record[Word.STATE], child.record[Word.WHY]) == (State.LOST, Why.DEAD)


def test_a_child_that_never_reached_redis_leaves_nothing_to_give_back(child: Child) -> None:
    child.ended(78)
    assert child.record[Word.STATE] == State.SETTLED


def test_a_child_that_has_given_everything_back_stays_settled(child: Child) -> None:
    child.record.worker = "some-worker"
    child.record[Word.STATE] = State.SETTLED
    child.ended(0)
    assert child.record[Word.STATE] == State.SETTLED


@pytest.mark.parametrize(
    ("code", "said"), [(0, "exit code 0"), (3, "exit code 3"), (-9, "signal 9 (SIGKILL)"), (-40, "signal 40")]
)
def test_endings_in_words(code: int, said: str) -> None:
    assert say_code(code) == said
