"""Duties that any child does at any time: giving back what gone workers hold."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
import redis

from multiworker.worker import upkeep
from multiworker.worker.broker import Broker
from multiworker.worker.errors import Exit, RedisUnavailable
from multiworker.worker.process import sweep
from multiworker.worker.scoreboard import Record, Scoreboard
from multiworker.worker.settings import Settings
from multiworker.worker.upkeep import BOOKED_BY_OTHERS, Upkeep
from multiworker.worker.words import State, Why, Word
from tests.broker.driver import Driver
from tests.proxy import Proxy
from tests.waiting import until


def lost(board: Scoreboard, worker: str, *, why: Why = Why.DEAD, ending: int = -9) -> Record:
    """Mark a dead sibling, as the parent does."""
    index = board.free_record()
    assert index is not None
    record = board.records[index]
    record.worker = worker
    record.ending = ending
    record[Word.WHY] = why
    record[Word.LOST_AT] = time.monotonic_ns()
    record[Word.STATE] = State.LOST
    return record


class Duties:
    """An Upkeep, and how often it told the parent."""

    def __init__(self, url: str, board: Scoreboard, *queues: str) -> None:
        self.told = 0
        settings = Settings(redis=url, queue=queues or ("jobs",))
        self.brokers = [Broker(queue, settings) for queue in settings.queue]
        self.upkeep = Upkeep(self.brokers, board, self._tell)

    async def close(self) -> None:
        for broker in self.brokers:
            await broker.close()

    def _tell(self) -> None:
        self.told += 1


@asynccontextmanager
async def running(duties: Duties) -> AsyncIterator[None]:
    """The duties are done as long as the context lasts."""
    task = asyncio.create_task(duties.upkeep.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await duties.close()


def recover_once(url: str, board: Scoreboard, *queues: str) -> Duties:
    duties = Duties(url, board, *queues)

    async def main() -> None:
        try:
            await duties.upkeep.recover_lost()
        finally:
            await duties.close()

    asyncio.run(main())
    return duties


def test_a_dead_siblings_tasks_are_given_back_and_its_books_closed(
    driver: Driver, redis_url: str, board: Scoreboard
) -> None:
    driver.push(b"x", b"y", b"z")
    driver.step("a", 2)
    driver.step("a", 0, acks=["1.1"])
    record = lost(board, "a")
    record[Word.CLAIMED], record[Word.DONE], record[Word.IN_FLIGHT] = 1, 0, 1
    duties = recover_once(redis_url, board)
    assert list(driver.scheduled()) == [b"a.1.2 1 1\ny"]
    assert (record[Word.STATE], duties.told) == (State.SETTLED, 1)
    books = {"claimed": 2, "done": 1, "retried": 0, "dead": 0, "given_back": 1, "in_flight": 0}
    assert board.ledger() == books, "what Redis knows, not what was written last before the death"


def test_one_sibling_that_cannot_be_recovered_does_not_keep_others_from_it(
    driver: Driver, redis_url: str, board: Scoreboard
) -> None:
    # given two dead siblings, and a string in the place of the in-flight hash of the first
    driver.push(b"x")
    driver.step("b", 1)
    redis.Redis.from_url(redis_url).set(driver.keys.inflight("a"), "not ours")
    lost(board, "a")
    second = lost(board, "b")
    # when
    with pytest.raises(RedisUnavailable, match="WRONGTYPE"):
        recover_once(redis_url, board)
    # then
    assert second[Word.STATE] == State.SETTLED
    assert list(driver.scheduled()) == [b"b.1.1 1 1\nx"]


def test_a_death_on_purpose_counts_for_no_task(driver: Driver, redis_url: str, board: Scoreboard) -> None:
    driver.push(b"x")
    driver.step("a", 1)
    lost(board, "a", why=Why.LEFT, ending=-15)
    recover_once(redis_url, board)
    assert list(driver.scheduled()) == [b"a.1.1 1 0\nx"]


def test_all_queues_of_a_sibling_are_looked_at(driver: Driver, redis_url: str, board: Scoreboard) -> None:
    other = Driver(driver.client, "other")
    other.register("a")
    for each in (driver, other):
        each.do("LPUSH", each.keys.queue, "x", "y")
        each.do("LPOP", each.keys.queue)
    driver.pushed[b"x"] += 1
    other.pushed[b"x"] += 1
    driver.step("a", 5)
    other.step("a", 5)
    record = lost(board, "a")
    recover_once(redis_url, board, "jobs", "other")
    assert (record[Word.CLAIMED], record[Word.GIVEN_BACK]) == (2, 2)
    assert len(driver.scheduled()) == len(other.scheduled()) == 1


def test_how_a_process_ended_stands_in_the_dead_letter(driver: Driver, redis_url: str, board: Scoreboard) -> None:
    for ending, detail in ((-11, b"signal 11"), (139, b"exit code 139")):
        driver.client.lpush(driver.keys.suspects, b"s.%d 1 4\npoison" % abs(ending))
        worker = f"w{abs(ending)}"
        driver.pushed[b"poison"] += 1
        driver.register(worker)
        driver.step(worker, 1)
        record = lost(board, worker, ending=ending)
        recover_once(redis_url, board)
        assert detail in driver.letters()[-1][b"detail"]
        assert record[Word.DEAD] == 1


def test_what_somebody_else_recovers_is_left_to_them_to_book(driver: Driver, redis_url: str, board: Scoreboard) -> None:
    driver.recover("a")
    record = lost(board, "a")
    record[Word.IN_FLIGHT] = 3
    duties = recover_once(redis_url, board)
    assert (record[Word.STATE], duties.told) == (State.LOST, 0)

    record[Word.LOST_AT] = time.monotonic_ns() - BOOKED_BY_OTHERS - 1
    duties = recover_once(redis_url, board)
    assert (record[Word.STATE], duties.told) == (State.SETTLED, 1)
    assert (record[Word.GIVEN_BACK], record[Word.IN_FLIGHT]) == (3, 0)


def test_only_who_is_asked_recovers(driver: Driver, redis_url: str, board: Scoreboard) -> None:
    record = lost(board, "a")
    record[Word.RECOVERER] = os.getpid() + 1
    recover_once(redis_url, board)
    assert record[Word.STATE] == State.LOST
    record[Word.RECOVERER] = os.getpid()
    recover_once(redis_url, board)
    assert record[Word.STATE] == State.SETTLED


def test_without_redis_it_stays_lost(board: Scoreboard) -> None:
    record = lost(board, "a")
    with pytest.raises(RedisUnavailable):
        recover_once("unix:///no/such/socket", board)
    assert record[Word.STATE] == State.LOST
    assert sweep(Settings(redis="unix:///no/such/socket", queue=("jobs",)), board) == Exit.UNAVAILABLE


def test_a_sweep_gives_back_what_the_last_child_left(driver: Driver, redis_url: str, board: Scoreboard) -> None:
    driver.push(b"x")
    driver.step("a", 1)
    lost(board, "a")
    assert sweep(Settings(redis=redis_url, queue=("jobs",)), board) == Exit.OK
    assert len(driver.scheduled()) == 1


@pytest.fixture
def rarely(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two looks there is an hour, unless somebody asks."""
    monkeypatch.setattr(upkeep, "INTERVAL", 3600.0)


@pytest.mark.usefixtures("rarely")
def test_a_look_that_is_asked_for_is_taken_at_once(driver: Driver, redis_url: str, board: Scoreboard) -> None:
    async def main() -> None:
        duties = Duties(redis_url, board)
        async with running(duties):
            for worker in ("a", "b"):
                record = lost(board, worker)
                duties.upkeep.look()
                await until(lambda record=record: record[Word.STATE] == State.SETTLED)  # type: ignore[misc]

    asyncio.run(main())


@pytest.mark.usefixtures("rarely")
def test_a_look_that_is_asked_for_while_another_is_taken_is_not_forgotten(
    driver: Driver, proxy: Proxy, board: Scoreboard
) -> None:
    async def main() -> None:
        duties = Duties(proxy.url, board)
        await duties.brokers[0].drained()
        proxy.hold("EVALSHA")
        async with running(duties):
            await until(proxy.holds)
            record = lost(board, "a")
            duties.upkeep.look()
            proxy.release()
            await until(lambda: record[Word.STATE] == State.SETTLED)

    asyncio.run(main())


def expire(driver: Driver, worker: str) -> None:
    """Have a lease be over, in the eyes of an upkeep that was always done."""
    now, _ = driver.do("TIME")
    driver.client.zadd(driver.keys.workers, {"*tick": int(now) * 1000, "*grace": 0, worker: int(now) * 1000 - 1000})


def test_a_worker_elsewhere_whose_lease_ran_out_is_given_up(
    driver: Driver, redis_url: str, board: Scoreboard, caplog: pytest.LogCaptureFixture
) -> None:
    driver.push(b"x")
    driver.step("a", 1)
    expire(driver, "a")

    async def main() -> None:
        async with running(Duties(redis_url, board)):
            await until(lambda: "worker a was silent too long: 1 tasks given back" in caplog.text)

    asyncio.run(main())
    assert driver.workers() == ["b"]
    assert driver.scheduled()


@pytest.mark.usefixtures("rarely")
def test_duties_go_on_after_redis_was_away(
    driver: Driver, proxy: Proxy, board: Scoreboard, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        duties = Duties(proxy.url, board)
        async with running(duties):
            await until(lambda: driver.client.zscore(driver.keys.workers, "*tick") and proxy.answered == proxy.total)
            record = lost(board, "a")
            proxy.lose("EVALSHA")
            duties.upkeep.look()
            await until(lambda: "still to be given back" in caplog.text)
            record[Word.LOST_AT] = 0
            duties.upkeep.look()
            await until(lambda: record[Word.STATE] == State.SETTLED)

    asyncio.run(main())
