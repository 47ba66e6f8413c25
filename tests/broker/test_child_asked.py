"""What a child does when its parent asks it to, by the page and by signals."""

import os
import signal
import time
from typing import Any

import pytest

from multiworker.worker import upkeep
from multiworker.worker.errors import Exit
from multiworker.worker.scoreboard import Record, Scoreboard
from multiworker.worker.words import State, Wish, Word
from tests.broker.driver import Driver
from tests.broker.life import Life, living, nothing, task
from tests.broker.rig import run
from tests.waiting import until

pytestmark = pytest.mark.usefixtures("no_watchdog")


def make_lost(driver: Driver, board: Scoreboard, worker: str) -> Record:
    """A sibling died and holds a task."""
    driver.push(task("lost"))
    driver.step(worker, 1)
    index = board.free_record()
    assert index is not None
    record = board.records[index]
    record.worker = worker
    record.ending = -9
    record[Word.LOST_AT] = time.monotonic_ns()
    record[Word.STATE] = State.LOST
    return record


def test_the_tasks_of_dead_siblings_are_given_back_before_the_child_is_ready(
    driver: Driver, redis_url: str, board: Scoreboard
) -> None:
    async def main() -> None:
        lost = make_lost(driver, board, "a")
        seen: list[Any] = []

        async def note(data: Any) -> None:
            seen.append(data)

        async with living(redis_url, board, note) as life:
            assert lost[Word.STATE] == State.SETTLED
            await until(lambda: life.record[Word.DONE] == 1)
        assert seen == ["lost"]

    run(main)


def test_a_signal_has_it_look_at_once(
    driver: Driver, redis_url: str, board: Scoreboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "INTERVAL", 3600.0)

    async def main() -> None:
        async with living(redis_url, board, nothing) as life:
            lost = make_lost(driver, board, "a")
            life.tell(signal.SIGURG)
            await until(lambda: lost[Word.STATE] == State.SETTLED)
            await until(lambda: life.record[Word.DONE] == 1)

    run(main)


def test_the_parent_can_have_it_be_quiet(driver: Driver, redis_url: str, board: Scoreboard) -> None:
    async def main() -> None:
        async with living(redis_url, board, nothing) as life:
            life.record[Word.QUIET] = 1
            life.tell(signal.SIGURG)
            await until(lambda: not driver.client.info("clients")["blocked_clients"])
            driver.push(task())
            life.record[Word.QUIET] = 0
            life.tell(signal.SIGURG)
            await until(lambda: life.record[Word.DONE] == 1)

    run(main)


def test_a_quiet_child_takes_nothing(driver: Driver, redis_url: str, board: Scoreboard) -> None:
    async def main() -> None:
        life = Life(redis_url, board, nothing, stuck_timeout=0.4)
        life.record[Word.QUIET] = 1
        await life.until(State.READY)
        driver.push(task())
        contact = life.record[Word.CONTACT]
        await until(lambda: life.record[Word.CONTACT] > contact + 10**9)  # it renews its lease, and no more
        assert driver.waiting() == [task()]
        await life.end()

    run(main)


def test_a_quota_is_asked_for_and_kept(driver: Driver, redis_url: str, board: Scoreboard) -> None:
    async def main() -> None:
        driver.push(*[task(n) for n in range(10)])
        async with living(redis_url, board, nothing, quota=3) as life:
            await until(lambda: life.record[Word.DONE] == 3)
            life.record[Word.QUOTA] = 7
            life.tell(signal.SIGURG)
            await until(lambda: life.record[Word.DONE] == 7)
            assert life.record[Word.CLAIMED] == 7

    run(main)
    assert len(driver.waiting()) == 3


def test_a_child_that_has_had_its_share_asks_to_be_replaced(driver: Driver, redis_url: str, board: Scoreboard) -> None:
    async def main() -> None:
        driver.push(*[task(n) for n in range(10)])
        async with living(redis_url, board, nothing, max_tasks_per_child=5, stuck_timeout=0.4) as life:
            await until(lambda: life.record[Word.WISH] == Wish.RECYCLE)
            await until(lambda: life.record[Word.DONE] == 10)  # and goes on until the parent says so

    run(main)


def test_a_child_whose_parent_is_gone_drains(
    driver: Driver, redis_url: str, board: Scoreboard, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        life = Life(redis_url, board, nothing, parent=os.getpid())
        assert await life.living == Exit.OK

    run(main)
    assert "the parent is gone" in caplog.text


def test_the_loops_beat_is_shown(driver: Driver, redis_url: str, board: Scoreboard) -> None:
    async def main() -> None:
        async with living(redis_url, board, nothing, stuck_timeout=0.4) as life:
            beats: set[int] = set()

            def beats_on() -> bool:
                beats.add(life.record[Word.BEAT])
                return len(beats) > 3

            await until(beats_on)

    run(main)
