"""One child's life in the test's own process: connecting, consuming, draining, leaving; the page tells its story."""

import asyncio
import os
import re
import shutil
import signal
import socket
import tempfile
import threading
import warnings
from pathlib import Path
from typing import Any

import pytest
import redis

from multiworker.worker import child as child_module
from multiworker.worker import scripts
from multiworker.worker.child import worker_id
from multiworker.worker.errors import Exit
from multiworker.worker.links import links_of
from multiworker.worker.process import prepare_to_fork, run_child
from multiworker.worker.scoreboard import Scoreboard
from multiworker.worker.settings import Settings
from multiworker.worker.words import NO_QUOTA, State, Wish, Word
from tests.broker.driver import Driver
from tests.broker.life import Life, books, for_ever, living, nothing, task
from tests.broker.rig import run
from tests.fix_redis import RedisServer
from tests.waiting import sync_until, until

pytestmark = pytest.mark.usefixtures("no_watchdog")


def test_a_child_runs_tasks_and_leaves_in_order(driver: Driver, redis_url: str, board: Scoreboard) -> None:
    async def main() -> None:
        driver.push(*[task(n) for n in range(30)])
        async with living(redis_url, board, nothing) as life:
            await until(lambda: life.record[Word.DONE] == 30)
            assert life.record.worker in driver.workers()
            assert await life.end() == Exit.OK
            assert life.record[Word.STATE] == State.SETTLED
            assert books(life.record) == {"claimed": 30, "done": 30}
            assert life.record.worker not in driver.workers()

    run(main)
    assert driver.drained()


def test_the_page_shows_what_is_in_flight(driver: Driver, redis_url: str, board: Scoreboard) -> None:
    async def main() -> None:
        driver.push(task(), task())
        async with living(redis_url, board, for_ever, grace=0) as life:
            await until(lambda: life.record[Word.IN_FLIGHT] == 2)
            assert books(life.record) == {"claimed": 2, "in_flight": 2}
            assert life.record[Word.CONTACT] > 0

    run(main)


def test_what_does_not_end_within_the_grace_is_given_back_uncounted(
    driver: Driver, redis_url: str, board: Scoreboard, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        driver.push(task(1), task(2))
        async with living(redis_url, board, for_ever, grace=0.05) as life:
            await until(lambda: life.record[Word.IN_FLIGHT] == 2)
            assert await life.end() == Exit.OK
            assert life.record[Word.STATE] == State.SETTLED
            assert books(life.record) == {"claimed": 2, "given_back": 2}

    run(main)
    assert sorted(frame.split(b" ", 1)[1] for frame in driver.scheduled()) == [
        b"1 0\n" + task(1),
        b"1 0\n" + task(2),
    ]
    assert "2 tasks did not end in time; they are given back" in caplog.text


def test_what_ends_within_the_grace_is_done(driver: Driver, redis_url: str, board: Scoreboard) -> None:
    async def main() -> None:
        go = asyncio.Event()

        async def wait(data: Any) -> None:
            await go.wait()

        driver.push(task(1), task(2))
        async with living(redis_url, board, wait, concurrency=1, grace=60) as life:
            await until(lambda: life.record[Word.IN_FLIGHT] == 1)
            life.tell(signal.SIGTERM)
            await life.until(State.DRAIN)
            go.set()
            assert await life.end() == Exit.OK
            assert books(life.record) == {"claimed": 1, "done": 1}

    run(main)
    assert driver.waiting() == [task(2)]


def test_a_thread_that_does_not_end_is_left_to_the_parent(driver: Driver, redis_url: str, board: Scoreboard) -> None:
    """Its task runs as long as the process lives: only the parent knows when that has ended."""
    release = threading.Event()

    def block(data: Any) -> None:
        release.wait(60)

    async def main() -> None:
        driver.push(task())
        async with living(redis_url, board, block, grace=0.05) as life:
            await until(lambda: life.record[Word.IN_FLIGHT] == 1)
            assert await life.end() == Exit.OK
            assert life.record[Word.STATE] == State.DRAIN
            assert len(driver.held(life.record.worker)) == 1
        release.set()

    run(main)


def test_a_child_that_was_given_up_leaves_with_a_code_of_its_own(
    driver: Driver, redis_url: str, board: Scoreboard, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        driver.push(task(1))
        async with living(redis_url, board, for_ever, stuck_timeout=0.8) as life:
            await until(lambda: life.record[Word.IN_FLIGHT] == 1)
            driver.recover(life.record.worker)
            assert await life.living == Exit.FENCED
            assert (life.record[Word.STATE], books(life.record)) == (State.SETTLED, {"claimed": 1, "given_back": 1})

    run(main)
    assert "fenced" in caplog.text


def test_a_child_that_one_queue_gave_up_gives_back_what_it_holds_of_the_others(
    driver: Driver, redis_url: str, redis_client: redis.Redis, board: Scoreboard
) -> None:
    async def main() -> None:
        redis_client.lpush("other", task(1))
        async with living(redis_url, board, for_ever, stuck_timeout=0.8, queue=("jobs", "other")) as life:
            await until(lambda: life.record[Word.IN_FLIGHT] == 1)
            driver.recover(life.record.worker)
            assert await life.living == Exit.FENCED
            assert (life.record[Word.STATE], books(life.record)) == (State.SETTLED, {"claimed": 1, "given_back": 1})

    run(main)
    assert redis_client.zcard("{other}:scheduled") == 1


def test_without_redis_the_first_child_gives_up_in_time(board: Scoreboard, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        life = Life("unix:///no/such/socket", board, nothing, first=True, redis_wait=0.1)
        assert await life.living == Exit.UNAVAILABLE
        assert life.record[Word.STATE] == State.CONNECT

    run(main)
    assert "gave up on Redis" in caplog.text


def test_a_later_child_waits_for_redis_and_can_be_stopped_meanwhile(
    private_redis: RedisServer, board: Scoreboard
) -> None:
    async def main() -> None:
        private_redis.stop()
        life = Life(private_redis.url, board, nothing)
        await life.until(State.CONNECT)
        assert await life.end() == Exit.OK

        life = Life(private_redis.url, board, nothing)
        await life.until(State.CONNECT)
        private_redis.start()
        await life.until(State.READY)
        assert await life.end() == Exit.OK

    run(main)


def test_burst_ends_by_itself_and_says_so(driver: Driver, redis_url: str, board: Scoreboard) -> None:
    async def main() -> None:
        driver.push(*[task(n) for n in range(10)])
        life = Life(redis_url, board, nothing, burst=True)
        assert await life.living == Exit.OK
        assert (life.record[Word.WISH], books(life.record)) == (Wish.FINISHED, {"claimed": 10, "done": 10})

    run(main)


def test_what_cannot_be_given_back_for_want_of_redis_is_left_to_the_parent(
    private_redis: RedisServer, board: Scoreboard, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        with redis.Redis.from_url(private_redis.url) as client:
            client.lpush("jobs", task())
        async with living(private_redis.url, board, for_ever, grace=0.05) as life:
            await until(lambda: life.record[Word.IN_FLIGHT] == 1)
            private_redis.stop()
            assert await life.end() == Exit.OK
            assert life.record[Word.STATE] == State.DRAIN
            assert books(life.record) == {"claimed": 1, "in_flight": 1}

    run(main)
    assert "could not be given back now" in caplog.text


def test_a_worker_id_is_short_plain_and_never_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "h\u00f6st name.with/odd:things" + "x" * 300)
    ids = {worker_id() for _ in range(1000)}
    assert len(ids) == 1000
    for one in ids:
        assert re.fullmatch(r"[A-Za-z0-9-]{1,128}", one)


def test_a_lost_registration_draws_a_new_id(driver: Driver, redis_url: str, board: Scoreboard) -> None:
    taken = iter(["a", "b", "fresh"])

    async def main(monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(child_module, "worker_id", taken.__next__)
        async with living(redis_url, board, nothing) as life:
            assert life.record.worker == "fresh"

    with pytest.MonkeyPatch.context() as patch:
        run(lambda: main(patch))


def test_a_handler_that_does_not_import_is_a_wrong_configuration(
    board: Scoreboard, redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    index = board.free_record()
    assert index is not None
    settings = Settings(redis=redis_url, handler=("no_such_module_of_handlers",))
    assert run_child(settings, board, index, os.getppid(), first=True, links=links_of(settings)) == Exit.CONFIG
    assert "ModuleNotFoundError" in caplog.text
    assert all("\n" not in record.getMessage() for record in caplog.records if record.levelname == "ERROR")


def test_a_child_in_a_process_of_its_own(redis_server: RedisServer, redis_client: redis.Redis) -> None:
    """The whole way of a forked child: import, connect, consume, drain on TERM; it reads no script by itself."""
    directory = Path(tempfile.mkdtemp(prefix="mw-"))
    (directory / "mw_child_handlers.py").write_text(
        "from multiworker.worker.registry import handler\n@handler('t')\ndef run(data): ...\n"
    )
    board = Scoreboard.create(directory / "board", 1)
    record, parent = board.records[board.free_record() or 0], os.getpid()
    record[Word.QUOTA] = NO_QUOTA
    settings = Settings(redis=redis_server.url, queue=("jobs",), handler=("mw_child_handlers",))
    redis_client.lpush("jobs", task())
    pid = os.fork()
    if pid == 0:
        os.chdir(directory)
        warnings.simplefilter("ignore")  # its connections end with its process
        scripts.script.cache_clear()
        run, _ = prepare_to_fork(settings)
        scripts._FOLDER = directory  # where there are none
        os._exit(run(settings, board, 0, parent, first=True))
    try:
        sync_until(lambda: record[Word.DONE] == 1)
        os.kill(pid, signal.SIGTERM)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == Exit.OK
        pid = 0
    finally:
        if pid:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        shutil.rmtree(directory)
    assert record[Word.STATE] == State.SETTLED
