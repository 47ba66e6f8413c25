"""The main loop when messages are lost, connections cut and Redis goes away: nothing runs twice, nothing is lost."""

import asyncio
import json
import logging
import os
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import redis

from multiworker.worker import guide, trouble
from multiworker.worker.keys import Keys
from multiworker.worker.registry import Handler
from tests.broker.driver import Driver
from tests.broker.rig import consuming, run
from tests.fix_redis import RedisServer
from tests.proxy import Proxy
from tests.waiting import until


def task(n: int) -> bytes:
    return json.dumps({"type": "note", "data": n}).encode()


class Counted:
    """A handler that knows how often each task was started, and waits at a gate if there is one."""

    def __init__(self, *, gate: bool = False) -> None:
        self.runs: Counter[int] = Counter()
        self._open = asyncio.Event()
        if not gate:
            self._open.set()

    async def __call__(self, data: int) -> None:
        self.runs[data] += 1
        await self._open.wait()

    def open(self) -> None:
        self._open.set()


def test_a_claim_whose_reply_is_lost_is_adopted_and_run_once(driver: Driver, proxy: Proxy) -> None:
    async def main() -> None:
        handler = Counted()
        async with consuming(proxy.url, {"note": handler}, interval=0.1) as rig:
            proxy.lose("EVALSHA")
            driver.push(*[task(n) for n in range(10)])
            await rig.until_settled(10)
            await rig.drain()
            assert rig.ledger.done == rig.ledger.claimed == 10
        assert handler.runs == Counter(range(10))

    run(main)
    assert driver.waiting() == []


def test_an_acknowledgement_whose_reply_is_lost_is_found_and_not_repeated(driver: Driver, proxy: Proxy) -> None:
    async def main() -> None:
        handler = Counted(gate=True)
        driver.push(*[task(n) for n in range(5)])
        async with consuming(proxy.url, {"note": handler}) as rig:
            await until(lambda: len(handler.runs) == 5)
            proxy.lose("EVALSHA")
            handler.open()
            await rig.until_settled(5)
            await rig.drain()
            assert rig.ledger.done == rig.ledger.claimed == 5
        assert handler.runs == Counter(range(5))

    run(main)
    assert driver.held("w") == {}


def test_a_retry_or_dead_letter_whose_reply_is_lost_is_booked_once(driver: Driver, proxy: Proxy) -> None:
    async def main() -> None:
        async def fail(data: int) -> None:
            if data == 1:
                proxy.lose("EVALSHA")
            raise ValueError

        driver.push(*[task(n) for n in range(3)])
        async with consuming(proxy.url, {"note": Handler(fail, max_attempts=2, backoff=0.001)}) as rig:
            await rig.until_settled(6)
            await rig.drain()
            assert (rig.ledger.claimed, rig.ledger.retried, rig.ledger.dead) == (6, 3, 3)

    run(main)
    driver.check()
    assert len(driver.letters()) == 3


def test_lost_replies_again_and_again_lose_and_repeat_nothing(driver: Driver, proxy: Proxy) -> None:
    async def main() -> None:
        handler = Counted()
        async with consuming(proxy.url, {"note": handler}, concurrency=7, interval=0.05) as rig:
            for round_ in range(30):
                if round_ % 3 == 2:
                    proxy.cut()
                else:
                    proxy.lose("EVALSHA")
                driver.do("LPUSH", "jobs", *[task(20 * round_ + n) for n in range(20)])
                await rig.until_settled(20 * round_ + 20)
            await rig.drain()
            assert rig.ledger.done == rig.ledger.claimed == 600
        assert handler.runs == Counter(range(600))

    run(main)
    assert driver.held("w") == {}


def test_tasks_run_on_while_the_connection_is_cut(driver: Driver, proxy: Proxy) -> None:
    async def main() -> None:
        handler = Counted(gate=True)
        driver.push(task(1))
        async with consuming(proxy.url, {"note": handler}) as rig:
            await until(lambda: handler.runs)
            for _ in range(3):
                proxy.cut()
                handler.open()
                driver.push(task(2))
            await rig.until_settled(4)
        assert handler.runs == {1: 1, 2: 3}

    run(main)


@asynccontextmanager
async def paused(server: RedisServer) -> AsyncIterator[None]:
    """The server stands still, and does afterwards what was sent to it meanwhile."""
    os.kill(server.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.pid, signal.SIGCONT)


def test_a_pause_of_redis_repeats_nothing(
    private_redis: RedisServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(guide, "ANSWER_TIMEOUT", 0.2)
    client = redis.Redis.from_url(private_redis.url)

    async def main() -> None:
        handler = Counted(gate=True)
        client.lpush("jobs", *[task(n) for n in range(10)])
        async with consuming(private_redis.url, {"note": handler}, concurrency=5, interval=0.05) as rig:
            await until(lambda: len(handler.runs) == 5)
            async with paused(private_redis):
                handler.open()
                await until(lambda: "still no Redis" in caplog.text)  # requests time out and are given up
            await rig.until_settled(10)
            await rig.drain()
            assert rig.ledger.done == rig.ledger.claimed == 10
        assert handler.runs == Counter(range(10))

    run(main)
    client.close()


def test_a_restart_of_redis_with_its_data_repeats_nothing(tmp_path: Path) -> None:
    directory = Path(tempfile.mkdtemp(prefix="mw-"))
    server = RedisServer(directory, "--appendonly", "yes", "--appendfsync", "always")
    server.start()

    async def main() -> None:
        handler = Counted(gate=True)
        with redis.Redis.from_url(server.url) as client:
            client.lpush("jobs", *[task(n) for n in range(10)])
        async with consuming(server.url, {"note": handler}, concurrency=5, interval=0.05) as rig:
            await until(lambda: len(handler.runs) == 5)
            await asyncio.to_thread(server.kill)
            handler.open()
            await until(lambda: rig.consumer.deliveries.running == 0)
            await until(lambda: rig.lanes[0].broken)
            assert rig.consumer.deliveries.held == 5, "what has ended is kept until Redis knows"
            await asyncio.to_thread(server.start)
            await rig.until_settled(10)
            await rig.drain()
            assert rig.ledger.done == rig.ledger.claimed == 10
        assert handler.runs == Counter(range(10))

    try:
        run(main)
    finally:
        server.stop()
        shutil.rmtree(directory)


def test_a_redis_that_forgot_everything_fences_the_worker(private_redis: RedisServer) -> None:
    async def main() -> None:
        handler = Counted()
        async with consuming(private_redis.url, {"note": handler}, interval=0.05) as rig:
            with redis.Redis.from_url(private_redis.url) as client:
                client.flushall()
            assert rig.running
            await asyncio.wait([rig.running])
            assert type(rig.running.exception()).__name__ == "Fenced"

    run(main)


def test_a_full_redis_is_drained(driver: Driver, redis_url: str) -> None:
    async def main() -> None:
        handler = Counted()
        driver.push(*[task(n) for n in range(50)])
        driver.client.config_set("maxmemory", "1")
        try:
            async with consuming(redis_url, {"note": handler}, interval=0.05) as rig:
                await rig.until_settled(50)
                driver.client.config_set("maxmemory", "0")
                driver.push(task(50))
                await rig.until_settled(51)
        finally:
            driver.client.config_set("maxmemory", "0")
        assert handler.runs == Counter(range(51))

    run(main)


def test_a_queue_of_a_wrong_type_is_waited_for(driver: Driver, redis_url: str) -> None:
    async def main() -> None:
        handler = Counted()
        driver.client.set("jobs", "not a list")
        async with consuming(redis_url, {"note": handler}, interval=0.05) as rig:
            await until(lambda: rig.lanes[0].broken)
            driver.client.delete("jobs")
            driver.push(task(1))
            await rig.until_settled(1)

    run(main)


KEYS = Keys("jobs")
STRING, STREAM, SET = ("SET", "not ours"), ("XADD", "*", "field", "value"), ("SADD", "member")


@pytest.mark.parametrize(
    ("key", "kind"), [*((key, STRING) for key in KEYS.of_worker("w")), (KEYS.queue, STREAM), (KEYS.queue, SET)]
)
def test_a_key_of_a_wrong_type_is_left_alone_and_does_not_flood_the_log(
    driver: Driver, redis_url: str, caplog: pytest.LogCaptureFixture, key: str, kind: tuple[str, ...]
) -> None:
    """Fails while a refused step is repeated at once: a thousand lines a second, and a core."""

    async def main() -> None:
        handler = Counted()
        driver.do("LPUSH", "other", task(1))
        async with consuming(redis_url, {"note": handler}, interval=0.05, queue=("jobs", "other")) as rig:
            await rig.until_settled(1)
            # given a foreign key in the place of one of ours
            before = driver.do("DUMP", key)
            driver.do("DEL", key)
            driver.do(kind[0], key, *kind[1:])
            foreign = driver.do("DUMP", key)
            if key != KEYS.queue:
                driver.do("LPUSH", "jobs", task(3))
            # when the worker meets it for a while, then it stays, and is told of now and then
            caplog.clear()
            started = time.monotonic()
            await until(lambda: rig.lanes[0].failures > 4)
            lines = [record for record in caplog.records if record.levelno >= logging.WARNING]
            assert 1 <= len(lines) <= 2 + (time.monotonic() - started)
            assert driver.do("DUMP", key) == foreign
            assert handler.runs == {1: 1}
            # and the other queue goes on
            driver.do("LPUSH", "other", task(2))
            await until(lambda: handler.runs[2] == 1)
            # and its own as soon as the key is gone
            driver.do("DEL", key)
            if before:
                driver.do("RESTORE", key, 0, before)
            if key == KEYS.queue:
                driver.do("LPUSH", "jobs", task(3))
            await until(lambda: handler.runs[3] == 1)

    run(main)


def test_a_queue_that_fails_again_is_left_alone_for_a_while_and_others_go_on(
    driver: Driver, redis_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Each try brings another error although reconcile works: without a pause, they follow each other at once."""
    monkeypatch.setattr(trouble, "RECONNECT", 1e6)
    monkeypatch.setattr(trouble, "RECONNECT_CAP", 1e6)

    async def main() -> None:
        handler = Counted()
        driver.client.set("jobs", "not a list")
        async with consuming(
            redis_url, {"note": handler}, queue=("jobs", "other"), interval=0.05, stuck_timeout=86_400
        ) as rig:
            await until(lambda: rig.lanes[0].failures == 2)
            for n in range(20):
                driver.do("LPUSH", "other", task(n))
                await rig.until_settled(n + 1)
            assert rig.lanes[0].failures == 2
        assert handler.runs == Counter(range(20))

    run(main)
    assert len([record for record in caplog.records if "queue jobs" in record.message]) == 1


def test_a_child_with_a_short_lease_is_back_before_the_grace_is_over(driver: Driver, redis_url: str) -> None:
    """Otherwise a sibling that connects sooner after an outage declares it dead."""

    async def main() -> None:
        driver.client.set("jobs", "not a list")
        async with consuming(redis_url, {"note": Counted()}, stuck_timeout=1) as rig:
            lane, loop = rig.lanes[0], asyncio.get_running_loop()
            for failures in range(8, 12):
                await until(lambda enough=failures: lane.failures >= enough)  # type: ignore[misc]
                assert lane.mend_at - loop.time() <= rig.settings.lease / 4

    run(main)


def test_scripts_that_are_forgotten_again_and_again_are_taught_again(driver: Driver, redis_url: str) -> None:
    async def main() -> None:
        handler = Counted()
        async with consuming(redis_url, {"note": handler}, concurrency=3) as rig:
            for n in range(100):
                driver.do("LPUSH", "jobs", task(n))
                driver.client.script_flush()
                await asyncio.sleep(0)
            await rig.until_settled(100)
        assert handler.runs == Counter(range(100))

    run(main)


@pytest.mark.parametrize("suspect", [False, True])
def test_a_task_that_somebody_took_away_is_stopped_and_others_go_on(
    driver: Driver, proxy: Proxy, *, suspect: bool
) -> None:
    """Only a foreign hand can. Fails while a suspect that is dropped leaves the consumer waiting for its end."""

    async def main() -> None:
        handler = Counted(gate=True)
        if suspect:
            driver.client.lpush(driver.keys.suspects, b"s.1 1 2\n" + task(1))
        else:
            driver.push(task(1))
        async with consuming(proxy.url, {"note": handler}, interval=0.05, stuck_timeout=1) as rig:
            await until(lambda: handler.runs)
            driver.client.hdel(driver.keys.inflight("w"), *driver.held("w"))
            proxy.lose("EVALSHA")
            await until(lambda: rig.ledger.given_back == 1)
            assert rig.consumer.deliveries.running == 0
            handler.open()
            driver.do("LPUSH", "jobs", task(2))
            await rig.until_settled(1)
            rig.check()

    run(main)


def test_an_idle_consumer_asks_little(proxy: Proxy) -> None:
    """At most three commands a second, at the default interval."""

    async def main() -> None:
        async with consuming(proxy.url, {}) as rig:
            await until(lambda: proxy.seen("BLMOVE"))
            loop = asyncio.get_running_loop()
            before, started = proxy.total, loop.time()
            await until(lambda: proxy.seen("BLMOVE") >= 4)
            assert (proxy.total - before) / (loop.time() - started) <= 3
            assert rig.consumer.deliveries.held == 0

    run(main)
