"""What a child says of itself in Redis, and what it counts, by the minute."""

import asyncio
import os
import signal
from typing import Any

import pytest
import redis

from multiworker.worker import card as card_module
from multiworker.worker.errors import Exit
from multiworker.worker.scoreboard import Scoreboard
from multiworker.worker.watch import Card, Pulse, Watcher
from multiworker.worker.words import Word
from tests.broker.driver import Driver
from tests.broker.dying import Ask
from tests.broker.life import for_ever, living, nothing, task
from tests.broker.rig import run
from tests.waiting import until

pytestmark = pytest.mark.usefixtures("no_watchdog")


@pytest.fixture
def watcher(as_operator: Ask) -> Watcher:
    return Watcher(as_operator, "jobs")


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cards come so often that a test need not wait for them."""
    monkeypatch.setattr(card_module, "EVERY", 0.01)


def card_of(watcher: Watcher) -> Card:
    """The card of the one child; an empty one if there is none yet."""
    return next((worker.card for worker in watcher.workers()[1] if worker.card), Card())


def ended(pulse: Pulse) -> dict[str, int]:
    names = ("done", "retried", "dead")
    return {name: sum(getattr(minute, name) for minute in pulse.minutes) for name in names}


def runs(pulse: Pulse) -> int:
    return sum(sum(minute.latencies) for minute in pulse.minutes)


def test_a_child_shows_who_it_is(redis_url: str, board: Scoreboard, watcher: Watcher) -> None:
    async def main() -> None:
        async with living(redis_url, board, nothing, name="blue", concurrency=7) as life:
            life.record[Word.SLOT], life.record[Word.GENERATION] = 3, 4
            await until(lambda: card_of(watcher).pid)
            (worker,) = watcher.workers()[1]
            card = card_of(watcher)
            assert (worker.id, card.pid, card.parent) == (life.record.worker, os.getpid(), os.getppid())
            assert (card.name, card.concurrency, card.state) == ("blue", 7, "ready")
            assert worker.id.startswith(f"{card.host}-")
            assert card.rss > 1_000_000
            assert card.cpu > 0
            assert 0 <= worker.card_age < 15 < worker.lease

    run(main)


@pytest.mark.usefixtures("often")
def test_a_card_names_what_runs(driver: Driver, redis_url: str, board: Scoreboard, watcher: Watcher) -> None:
    async def main() -> None:
        driver.push(b'{"id": "mine", "type": "t", "data": "\\u001b[31m"}', *[task(n) for n in range(29)])
        async with living(redis_url, board, for_ever, grace=0, concurrency=30):
            await until(lambda: card_of(watcher).running == 30)
            await until(lambda: card_of(watcher).tasks[0].seconds > 0)
            card = card_of(watcher)
            assert len(card.tasks) == card_module.MOST_TASKS
            assert (card.tasks[0].id, card.tasks[0].type, card.tasks[0].attempt) == ("mine", "t", 1)
            assert watcher.workers()[1][0].held == 30

    run(main)


def test_a_change_of_state_is_told_at_once(
    driver: Driver, redis_url: str, board: Scoreboard, watcher: Watcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(card_module, "EVERY", 1000.0)

    async def main() -> None:
        driver.push(task())
        release = asyncio.Event()

        async def wait(data: Any) -> None:
            await release.wait()

        async with living(redis_url, board, wait) as life:
            await until(lambda: card_of(watcher).state == "ready")
            life.record[Word.QUIET] = 1
            life.tell(signal.SIGURG)
            await until(lambda: card_of(watcher).state == "quiet")
            life.tell(signal.SIGTERM)
            await until(lambda: card_of(watcher).state == "drain")
            release.set()
            assert await life.end() == Exit.OK

    run(main)


def test_a_child_that_ends_takes_its_card_away_and_tells_its_last_counts(
    driver: Driver, redis_url: str, board: Scoreboard, watcher: Watcher, redis_client: redis.Redis
) -> None:
    async def handle(data: Any) -> None:
        if data == "broken":
            raise ValueError

    async def main() -> None:
        async with living(redis_url, board, handle, max_attempts=2) as life:
            await until(lambda: card_of(watcher).pid)
            driver.push(*[task(n) for n in range(10)], task("broken"), b"no task", b"x" * 2_000_000, b"y" * 300_000)
            await until(lambda: life.record[Word.DEAD] == 4)
            await until(lambda: life.record[Word.DONE] == 10)
            assert await life.end() == Exit.OK

    run(main)
    assert redis_client.keys("*card*") == []
    assert [worker.id for worker in watcher.workers()[1]] == ["a", "b"]  # the test's own, which have none
    assert ended(watcher.pulse()) == {"done": 10, "retried": 1, "dead": 4}
    assert runs(watcher.pulse()) == 12


@pytest.mark.usefixtures("often")
def test_counts_are_sent_once(driver: Driver, redis_url: str, board: Scoreboard, watcher: Watcher) -> None:
    async def main() -> None:
        async with living(redis_url, board, nothing):
            driver.push(*[task(n) for n in range(50)])
            await until(lambda: ended(watcher.pulse())["done"] == 50)
            seen = watcher.pulse().now
            await until(lambda: (watcher.pulse().now - seen).total_seconds() > 0.2)
            assert ended(watcher.pulse()) == {"done": 50, "retried": 0, "dead": 0}

    run(main)


@pytest.mark.usefixtures("often")
def test_each_queue_has_its_own_card_and_counts(
    driver: Driver, redis_url: str, board: Scoreboard, watcher: Watcher, as_operator: Ask
) -> None:
    other = Watcher(as_operator, "other")

    async def main() -> None:
        async with living(redis_url, board, nothing, queue=("jobs", "other")):
            driver.push(task())
            driver.client.lpush("other", task(), task())
            await until(lambda: ended(other.pulse())["done"] == 2 and ended(watcher.pulse())["done"] == 1)
            assert card_of(other).pid == card_of(watcher).pid

    run(main)


@pytest.mark.usefixtures("often")
def test_what_redis_keeps_of_it_is_bounded(
    driver: Driver, redis_url: str, board: Scoreboard, watcher: Watcher, redis_client: redis.Redis
) -> None:
    async def main() -> None:
        async with living(redis_url, board, nothing):
            driver.push(task())
            await until(lambda: ended(watcher.pulse())["done"] == 1)
            cards, minutes = redis_client.keys("{jobs}:card:*"), redis_client.keys("{jobs}:minute:*")
            assert all(0 < redis_client.ttl(key) <= 15 for key in cards)
            assert all(3600 < redis_client.ttl(key) <= 3900 for key in minutes)

    run(main)


def test_a_worker_without_a_card_or_with_a_forged_one_is_shown(
    driver: Driver, watcher: Watcher, redis_client: redis.Redis
) -> None:
    redis_client.set("{jobs}:card:a", b'{"pid": "many"}')
    redis_client.zadd(driver.keys.workers, {"*tick": 1})
    count, workers = watcher.workers()
    assert count == 2
    assert [(worker.id, worker.card) for worker in workers] == [("a", None), ("b", None)]


def test_redis_away_does_not_stop_the_cards(
    driver: Driver, redis_url: str, board: Scoreboard, watcher: Watcher, redis_client: redis.Redis, often: None
) -> None:
    async def main() -> None:
        async with living(redis_url, board, nothing) as life:
            await until(lambda: card_of(watcher).pid)
            redis_client.client_kill_filter(_type="normal", skipme=True)
            redis_client.delete(*redis_client.keys("{jobs}:card:*"))
            await until(lambda: card_of(watcher).pid)
            assert not life.living.done()

    run(main)
