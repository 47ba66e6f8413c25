"""Connections: nothing is ever sent twice, no reply is taken for another's, and no secret is told."""

import asyncio
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from multiworker.worker import commands, guide
from multiworker.worker.caller import Caller
from multiworker.worker.connections import Wire
from multiworker.worker.errors import RedisUnavailable
from multiworker.worker.keys import Keys
from tests.fix_redis import RedisServer
from tests.proxy import Proxy
from tests.waiting import until

KEYS = Keys("jobs")
PUSH = ("LPUSH", "jobs", "x")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets an answer take little time only."""
    monkeypatch.setattr(guide, "ANSWER_TIMEOUT", 0.2)


def test_a_wire_answers(redis_url: str) -> None:
    async def main() -> list[Any]:
        wire = Wire(redis_url)
        replies = [await wire.ask(PUSH), await wire.ask(("LRANGE", "jobs", 0, -1)), await wire.ask(("GET", "none"))]
        await wire.close()
        return replies

    assert asyncio.run(main()) == [1, [b"x"], None]


def test_a_lost_reply_is_an_error_and_the_command_is_never_sent_again(proxy: Proxy, redis_client: redis.Redis) -> None:
    async def main() -> None:
        wire = Wire(proxy.url)
        proxy.lose("LPUSH")
        with pytest.raises(RedisUnavailable):
            await wire.ask(PUSH)
        assert await wire.ask(("LLEN", "jobs")) == 1, "it connects anew for what is asked next"
        await wire.close()

    asyncio.run(main())
    assert (proxy.seen("LPUSH"), proxy.connections) == (1, 2)
    assert redis_client.llen("jobs") == 1


def test_nor_does_the_blocking_client(proxy: Proxy, redis_client: redis.Redis) -> None:
    proxy.lose("LPUSH")
    caller = Caller(proxy.url)
    with pytest.raises(RedisUnavailable):
        caller.ask(PUSH)
    caller.close()
    assert proxy.seen("LPUSH") == 1
    assert redis_client.llen("jobs") == 1


def test_with_the_librarys_retries_these_tests_would_fail(proxy: Proxy, redis_client: redis.Redis) -> None:
    proxy.lose("LPUSH", 2)
    with redis.Redis(unix_socket_path=str(proxy.path), retry=Retry(NoBackoff(), 3)) as client:
        assert client.lpush("jobs", "x") == 3
    assert proxy.seen("LPUSH") == 3


def test_connecting_is_tried_once(tmp_path: Path) -> None:
    async def main() -> int:
        tries = 0

        async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal tries
            tries += 1
            writer.close()

        directory = tempfile.mkdtemp(prefix="mw-")
        server = await asyncio.start_unix_server(hang_up, f"{directory}/s")
        wire = Wire(f"unix://{directory}/s?db=1")
        with pytest.raises(RedisUnavailable):
            await wire.ask(("PING",))
        server.close()
        shutil.rmtree(directory)
        return tries

    assert asyncio.run(main()) == 1


@pytest.mark.usefixtures("impatient")
def test_no_answer_in_time_is_an_error_and_a_late_one_is_nobodys(proxy: Proxy) -> None:
    async def main() -> None:
        wire = Wire(proxy.url)
        await wire.ask(PUSH)
        assert wire.missed_at == 0
        proxy.hold("LLEN")
        asked_at = time.monotonic_ns()
        with pytest.raises(RedisUnavailable, match=r"no answer within 0\.2 s"):
            await wire.ask(("LLEN", "jobs"))
        assert asked_at < wire.missed_at <= time.monotonic_ns()
        proxy.release()
        assert await wire.ask(("LRANGE", "jobs", 0, -1)) == [b"x"]
        await wire.close()

    asyncio.run(main())
    assert proxy.seen("LLEN") == 1


@pytest.mark.usefixtures("impatient")
def test_what_a_command_waits_by_itself_is_no_silence(redis_url: str) -> None:
    async def main() -> Any:
        wire = Wire(redis_url)
        try:
            return await wire.ask(commands.wait(KEYS, 0.5), extra=0.5)
        finally:
            await wire.close()

    assert asyncio.run(main()) is None


def test_a_call_that_is_cancelled_leaves_no_reply_behind(proxy: Proxy, redis_client: redis.Redis) -> None:
    async def main() -> None:
        wire = Wire(proxy.url)
        await wire.ask(PUSH)
        proxy.hold("LLEN")
        asking = asyncio.create_task(wire.ask(("LLEN", "jobs")))
        await until(proxy.holds)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        proxy.release()
        assert await wire.ask(("LRANGE", "jobs", 0, -1)) == [b"x"]
        await wire.close()

    asyncio.run(main())


def test_many_askers_get_each_its_own_reply(redis_url: str) -> None:
    async def main() -> list[Any]:
        wire = Wire(redis_url)
        replies = await asyncio.gather(*[wire.ask(("ECHO", str(n))) for n in range(100)])
        await wire.close()
        return list(replies)

    assert asyncio.run(main()) == [b"%d" % n for n in range(100)]


def test_one_asker_less_does_not_disturb_the_one_whose_turn_it_is(proxy: Proxy) -> None:
    async def main() -> Any:
        wire = Wire(proxy.url)
        proxy.hold("ECHO")
        first = asyncio.create_task(wire.ask(("ECHO", "first")))
        await until(proxy.holds)
        second = asyncio.create_task(wire.ask(("ECHO", "second")))
        await asyncio.sleep(0)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        proxy.release()
        try:
            return await first
        finally:
            await wire.close()

    assert asyncio.run(main()) == b"first"


def test_a_script_that_redis_forgot_is_taught_again_and_run_once(proxy: Proxy, redis_client: redis.Redis) -> None:
    async def main() -> None:
        wire = Wire(proxy.url)
        for worker in ("a", "b"):
            redis_client.script_flush()
            assert await wire.ask(commands.register(KEYS, worker, 1000)) == [b"OK"]
        assert await wire.ask(commands.register(KEYS, "c", 1000)) == [b"OK"]
        await wire.close()

    asyncio.run(main())
    assert (proxy.seen("EVALSHA"), proxy.seen("SCRIPT")) == (5, 2)


def test_an_error_for_an_answer_is_an_error(redis_url: str, redis_client: redis.Redis) -> None:
    async def main() -> None:
        wire = Wire(redis_url)
        redis_client.set("jobs", "a string")
        with pytest.raises(RedisUnavailable, match="WRONGTYPE"):
            await wire.ask(PUSH)
        redis_client.delete("jobs")
        assert await wire.ask(PUSH) == 1
        await wire.close()

    asyncio.run(main())


def test_a_server_that_comes_back_is_found(private_redis: RedisServer) -> None:
    async def main() -> None:
        wire = Wire(private_redis.url)
        assert await wire.ask(PUSH) == 1
        private_redis.kill()
        for _ in range(3):
            with pytest.raises(RedisUnavailable):
                await wire.ask(PUSH)
        private_redis.start()
        assert await wire.ask(PUSH) == 1
        await wire.close()

    asyncio.run(main())


def test_a_payload_is_never_in_an_error(redis_url: str, redis_client: redis.Redis) -> None:
    async def main() -> str:
        wire = Wire(redis_url)
        redis_client.set("jobs", "a string")
        with pytest.raises(RedisUnavailable) as caught:
            await wire.ask(commands.push(KEYS, [b"s3cret payload"]))
        await wire.close()
        return str(caught.value)

    assert "s3cret" not in asyncio.run(main())


@pytest.fixture
def guarded() -> Iterator[RedisServer]:
    """A server with a password."""
    directory = Path(tempfile.mkdtemp(prefix="mw-"))
    server = RedisServer(directory, "--requirepass", "r1ght")
    server.start()
    yield server
    server.stop()
    shutil.rmtree(directory)


def test_the_password_of_the_url_is_used(guarded: RedisServer) -> None:
    async def main() -> Any:
        wire = Wire(guarded.url.replace("://", "://:r1ght@"))
        try:
            return await wire.ask(PUSH)
        finally:
            await wire.close()

    assert asyncio.run(main()) == 1


def test_the_password_is_never_in_an_error(guarded: RedisServer) -> None:
    urls = [
        guarded.url.replace("://", "://:s3cret@"),
        guarded.url.replace("://", "://user:s3cret@"),
        guarded.url + "?password=s3cret",
        guarded.url,
        "redis://:s3cret@127.0.0.1:1/0",
        "redis://user:s3cret@127.0.0.1:1/0",
        "redis://:s3cret@no-such-host.invalid/0",
        "unix://:s3cret@/no/such/socket",
        "rediss://:s3cret@127.0.0.1:1",
    ]

    async def main() -> list[str]:
        errors = []
        for url in urls:
            wire = Wire(url)
            with pytest.raises(RedisUnavailable) as caught:
                await wire.ask(PUSH)
            errors.append(str(caught.value))
            assert caught.value.__cause__ is None, "a traceback would show it"
            assert caught.value.__suppress_context__
        return errors

    for text in asyncio.run(main()):
        assert "s3cret" not in text
        assert "\n" not in text
