"""The client against a real Redis."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import uvloop

from multiworker.worker import client as public
from multiworker.worker.client import Client
from multiworker.worker.client.encode import CHUNK
from multiworker.worker.errors import EncodeError, RedisUnavailable, SettingsError
from multiworker.worker.keys import Keys
from multiworker.worker.message import parse_frame
from tests.fix_redis import RedisServer
from tests.proxy import Loss, Proxy
from tests.waiting import sync_until

KEYS = Keys("async_tasks")


def taken(redis_client: redis.Redis, queue: str = "async_tasks") -> list[dict[str, Any]]:
    """All tasks of a list, in the order in which workers take them."""
    elements = redis_client.lrange(queue, 0, -1)
    assert isinstance(elements, list)
    return [json.loads(element) for element in reversed(elements)]


def calls(redis_client: redis.Redis, command: str) -> int:
    """How often clients have called a command since the server started or its statistics were reset."""
    stats: Any = redis_client.info("commandstats")
    return int(stats.get(f"cmdstat_{command}", {"calls": 0})["calls"])


def test_enqueue_pushes_one_task_and_returns_its_id(client: Client, redis_client: redis.Redis) -> None:
    task_id = client.enqueue("email", {"to": "user@example.com"})

    assert taken(redis_client) == [{"id": task_id, "type": "email", "data": {"to": "user@example.com"}}]


def test_aenqueue_does_what_enqueue_does(client: Client, redis_client: redis.Redis) -> None:
    task_id = asyncio.run(client.aenqueue("email", [1], id="my id", queue="other"))

    assert task_id == "my id"
    assert taken(redis_client, "other") == [{"id": "my id", "type": "email", "data": [1]}]


def test_tasks_are_taken_in_the_order_of_sending(client: Client, redis_client: redis.Redis) -> None:
    client.enqueue("first")
    client.enqueue_many([("second", None), ("third", None)])
    asyncio.run(client.aenqueue_many([("fourth", None), ("fifth", 0)]))

    assert [task["type"] for task in taken(redis_client)] == ["first", "second", "third", "fourth", "fifth"]


def test_many_tasks_take_one_round_trip_a_chunk(client: Client, redis_client: redis.Redis) -> None:
    redis_client.config_resetstat()

    ids = client.enqueue_many(("t", number) for number in range(2 * CHUNK + 1))
    more = asyncio.run(client.aenqueue_many(("t", number) for number in range(CHUNK + 1)))

    assert calls(redis_client, "lpush") == 5
    assert [task["id"] for task in taken(redis_client)] == ids + more
    assert [task["data"] for task in taken(redis_client)] == [*range(2 * CHUNK + 1), *range(CHUNK + 1)]


def test_no_task_of_many_is_sent_if_one_is_refused(client: Client, redis_client: redis.Redis) -> None:
    tasks = [("t", 1)] * (2 * CHUNK) + [("t", object())]

    with pytest.raises(EncodeError, match=r"task 2000, counted from 0: .* of type builtins\.object"):
        client.enqueue_many(tasks)
    with pytest.raises(EncodeError, match=r"task 2000, counted from 0: .* of type builtins\.object"):
        asyncio.run(client.aenqueue_many(tasks))

    assert redis_client.dbsize() == 0


@pytest.mark.parametrize("delay", [60, 60.0])
def test_delayed_tasks_are_scheduled_by_the_clock_of_redis(
    client: Client, redis_client: redis.Redis, delay: float
) -> None:
    before = now_ms(redis_client)
    ids = [client.enqueue("t", 1, delay=delay), asyncio.run(client.aenqueue("t", 2, delay=delay))]
    after = now_ms(redis_client)

    scheduled: Any = redis_client.zrange(KEYS.scheduled, 0, -1, withscores=True)
    frames = [parse_frame(raw) for raw, _ in scheduled]
    assert sorted(json.loads(frame.payload)["id"] for frame in frames) == sorted(ids)
    assert {(frame.attempt, frame.crashes) for frame in frames} == {(1, 0)}
    assert all(before + 60_000 <= due <= after + 60_000 for _, due in scheduled)
    assert redis_client.llen("async_tasks") == 0


def test_tasks_with_a_priority_are_frames_with_their_ids(client: Client, redis_client: redis.Redis) -> None:
    async def send_more() -> list[str]:
        one = client.aenqueue("t", 5, id="five", priority=2)
        two = client.aenqueue("t", 6, priority=-2)  # shares no round trip with the other, but comes in its order
        return [*await asyncio.gather(one, two), *await client.aenqueue_many([("t", 7), ("t", 8)], priority=2)]

    ids = [client.enqueue("t", 1, priority=2), client.enqueue("t", 2, id="two words", priority=-2)]
    ids += client.enqueue_many([("t", 3), ("t", 4)], priority=100)
    ids += asyncio.run(send_more())

    raw: Any = redis_client.zrange(KEYS.priority, 0, -1)
    frames = [parse_frame(one) for one in raw]
    assert [json.loads(frame.payload)["data"] for frame in frames] == [3, 4, 1, 5, 7, 8, 2, 6]
    own = dict(zip(ids, [1, 2, 3, 4, 5, 6, 7, 8], strict=True))
    assert {frame.id: json.loads(frame.payload)["data"] for frame in frames if frame.id in own} == {
        task_id: data for task_id, data in own.items() if task_id != "two words"
    }
    assert redis_client.llen("async_tasks") == 1, "a bell"


def test_delay_and_priority_together(client: Client, redis_client: redis.Redis) -> None:
    before = now_ms(redis_client)
    client.enqueue("t", id="mine", priority=5, delay=60)

    deferred: Any = redis_client.zrange(KEYS.deferred, 0, -1, withscores=True)
    ((frame, due),) = deferred
    assert frame.startswith(b"mine 1 0 p5.1\n")
    assert before + 60_000 <= due <= now_ms(redis_client) + 60_001


@pytest.mark.parametrize("priority", [-101, 101, 1.0, "1", True])
def test_impossible_priorities_are_refused_and_nothing_is_sent(
    client: Client, redis_client: redis.Redis, priority: Any
) -> None:
    for send in (client.enqueue, lambda *a, **k: asyncio.run(client.aenqueue(*a, **k))):
        with pytest.raises(ValueError, match="a priority is a whole number from -100 to 100"):
            send("t", priority=priority)
    with pytest.raises(ValueError, match="a priority is"):
        client.enqueue_many([("t", 1)], priority=priority)
    with pytest.raises(ValueError, match="a priority is"):
        asyncio.run(client.aenqueue_many([("t", 1)], priority=priority))
    assert redis_client.dbsize() == 0


def now_ms(redis_client: redis.Redis) -> int:
    seconds, micros = redis_client.time()
    return int(seconds) * 1000 + int(micros) // 1000


def test_delayed_tasks_alike_stay_two_tasks(client: Client, redis_client: redis.Redis) -> None:
    client.enqueue("t", 1, id="mine", delay=60)
    client.enqueue("t", 1, id="mine", delay=60)
    client.enqueue_many([("t", 1), ("t", 1)], delay=60)

    assert redis_client.zcard(KEYS.scheduled) == 4


def test_scheduling_survives_a_script_flush(client: Client, redis_client: redis.Redis) -> None:
    client.enqueue("t", delay=60)
    redis_client.script_flush()
    client.enqueue("t", delay=60)
    redis_client.script_flush()
    asyncio.run(client.aenqueue("t", delay=60))

    assert redis_client.zcard(KEYS.scheduled) == 3


@pytest.mark.parametrize(("lost", "delay"), [("LPUSH", None), ("schedule", 60)])
def test_nothing_is_sent_again_when_the_reply_is_lost(
    proxy: Proxy, redis_client: redis.Redis, lost: str, delay: float | None
) -> None:
    client = Client(proxy.url)
    for send in (client.enqueue, lambda *a, **k: asyncio.run(client.aenqueue(*a, **k))):
        redis_client.flushall()
        Client(redis_url_of(redis_client)).enqueue("t", delay=60)  # so that Redis knows the script
        redis_client.delete(KEYS.scheduled)
        before = proxy.did(Loss.REPLY, lost)
        proxy.lose(lost)

        with pytest.raises(RedisUnavailable):
            send("t", 1, delay=delay)

        assert proxy.did(Loss.REPLY, lost) == before + 1
        assert redis_client.llen("async_tasks") + redis_client.zcard(KEYS.scheduled) == 1
    client.close()


def redis_url_of(redis_client: redis.Redis) -> str:
    return f"unix://{redis_client.connection_pool.connection_kwargs['path']}"


@pytest.mark.parametrize("send", ["enqueue_many", "aenqueue_many"])
def test_a_bulk_says_how_far_it_came(private_redis: RedisServer, send: str) -> None:
    client = Client(private_redis.url)

    def tasks() -> Iterator[tuple[str, Any]]:
        for number in range(30):
            yield "t", str(number) * 100_000
        private_redis.stop()

    def send_all() -> None:
        if send == "enqueue_many":
            client.enqueue_many(tasks())
        else:
            asyncio.run(client.aenqueue_many(tasks()))

    with pytest.raises(RedisUnavailable, match=r"of 30 tasks, the first 0 were surely sent"):
        send_all()
    client.close()


def test_errors_of_redis_are_one_line_without_the_password(client: Client, redis_client: redis.Redis) -> None:
    redis_client.set("async_tasks", "not a list")

    with pytest.raises(RedisUnavailable, match="WRONGTYPE") as caught:
        client.enqueue("t")

    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("url", ["redis://user:s3cret@localhost:1/0", "redis://localhost:1?password=s3cret"])
def test_unreachable_redis_is_one_line_without_the_password(url: str) -> None:
    client = Client(url)

    for send in (client.enqueue, lambda kind: asyncio.run(client.aenqueue(kind))):
        with pytest.raises(RedisUnavailable, match="localhost:1") as caught:
            send("t")

        assert "s3cret" not in str(caught.value)
        assert "\n" not in str(caught.value)
        assert caught.value.__cause__ is None


@pytest.mark.parametrize("query", ["foo=1", "db=x", "socket_timeout=x"])
def test_impossible_url_options_are_refused_without_the_password(query: str) -> None:
    with pytest.raises(SettingsError, match="--redis has an option") as caught:
        Client(f"redis://:s3cret@localhost/0?{query}")

    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("queue", ["", "a}b", "a\nb"])
def test_impossible_queues_are_refused(client: Client, queue: str) -> None:
    with pytest.raises(SettingsError):
        client.enqueue("t", queue=queue)


def test_gathered_tasks_share_round_trips_and_keep_their_order(client: Client, redis_client: redis.Redis) -> None:
    redis_client.config_resetstat()

    async def send() -> list[str]:
        return await asyncio.gather(*(client.aenqueue("t", number) for number in range(5000)))

    ids = asyncio.run(send())

    assert [task["id"] for task in taken(redis_client)] == ids
    assert calls(redis_client, "lpush") <= 10


def test_gathered_tasks_of_several_queues_and_delays_do_not_mix(client: Client, redis_client: redis.Redis) -> None:
    async def send() -> None:
        plain = (client.aenqueue("t", n, queue=f"q{n % 3}") for n in range(30))
        delayed = (client.aenqueue("t", n, delay=60 + n % 2) for n in range(10))
        await asyncio.gather(*plain, *delayed)

    asyncio.run(send())

    assert [[task["data"] % 3 for task in taken(redis_client, f"q{n}")] for n in range(3)] == [
        [0] * 10,
        [1] * 10,
        [2] * 10,
    ]
    assert redis_client.zcard(KEYS.scheduled) == 10


def test_event_loops_one_after_the_other_and_side_by_side(client: Client, redis_client: redis.Redis) -> None:
    async def send() -> None:
        await asyncio.gather(*(client.aenqueue("t") for _ in range(50)))

    for _ in range(3):
        asyncio.run(send())
    threads = [threading.Thread(target=asyncio.run, args=(send(),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len({task["id"] for task in taken(redis_client)}) == 7 * 50


def test_event_loops_leave_nothing_behind(client: Client, redis_client: redis.Redis) -> None:
    connected = len(redis_client.client_list())

    for factory in (None, None, uvloop.new_event_loop, uvloop.new_event_loop):
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(client.aenqueue("t"))
    closed = asyncio.new_event_loop()  # one that ends without a farewell to its generators
    closed.run_until_complete(client.aenqueue("t"))
    line, _ = client._lines[closed]
    closed.run_until_complete(line.close())
    closed.close()
    asyncio.run(client.aenqueue("t"))

    assert client._lines == {}
    sync_until(lambda: len(redis_client.client_list()) == connected)


def test_threads_share_a_client(client: Client, redis_client: redis.Redis) -> None:
    def send() -> None:
        for _ in range(50):
            client.enqueue("t")

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len({task["id"] for task in taken(redis_client)}) == 8 * 50


FORKS = """
import asyncio, os, sys
from multiworker.worker.client import aenqueue, enqueue

enqueue("before")
loop = asyncio.new_event_loop()
loop.run_until_complete(aenqueue("before"))
children = []
for _ in range(3):
    pid = os.fork()
    if not pid:
        for _ in range(20):
            enqueue("child")
        asyncio.run(aenqueue("child"))
        os._exit(0)
    children.append(pid)
for _ in range(20):
    enqueue("parent")
    loop.run_until_complete(aenqueue("parent"))
loop.run_until_complete(loop.shutdown_asyncgens())
loop.close()
sys.exit(any(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children))
"""


def test_forked_processes_do_not_share_connections(redis_url: str, redis_client: redis.Redis) -> None:
    environment = {**os.environ, "MULTIWORKER_REDIS": redis_url}

    done = subprocess.run([sys.executable, "-X", "dev", "-c", FORKS], env=environment, capture_output=True, check=False)

    assert (done.returncode, done.stderr) == (0, b"")
    kinds = [task["type"] for task in taken(redis_client)]
    assert {kind: kinds.count(kind) for kind in kinds} == {"before": 2, "parent": 40, "child": 63}


def test_a_restarted_redis_is_found_again_without_an_error(private_redis: RedisServer) -> None:
    client = Client(private_redis.url)

    async def send() -> None:
        await client.aenqueue("t")
        private_redis.stop()
        private_redis.start()
        await asyncio.sleep(0)
        await client.aenqueue("t", 2)

    client.enqueue("t")
    asyncio.run(send())
    client.enqueue("t", 3)

    with redis.Redis.from_url(private_redis.url) as redis_client:
        assert [task["data"] for task in taken(redis_client)] == [2, 3]
    client.close()


def test_a_cancelled_caller_leaves_the_connection_in_step(private_redis: RedisServer) -> None:
    client = Client(private_redis.url)

    async def send() -> None:
        await client.aenqueue("t", "warm")
        os.kill(private_redis.pid, signal.SIGSTOP)
        cancelled = asyncio.ensure_future(client.aenqueue("t", "cancelled"))
        bulk = asyncio.ensure_future(client.aenqueue_many([("t", "bulk")]))
        for _ in range(10):
            await asyncio.sleep(0)  # both get as far as waiting for Redis
        cancelled.cancel()
        bulk.cancel()
        await asyncio.wait([cancelled, bulk])
        os.kill(private_redis.pid, signal.SIGCONT)
        assert await client.aenqueue("t", "last", id="after") == "after"

    asyncio.run(send())

    with redis.Redis.from_url(private_redis.url) as redis_client:
        sent = [task["data"] for task in taken(redis_client)]
    assert sent[0] == "warm"
    assert sent[-1] == "last"
    assert sorted(sent[1:-1]) in (["bulk"], ["bulk", "cancelled"], ["cancelled"])
    client.close()


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    for name in ("MULTIWORKER_REDIS", "REDIS_URL", "MULTIWORKER_MAX_PAYLOAD", "REDIS_URL_FILE"):
        monkeypatch.delenv(name, raising=False)
    yield monkeypatch
    public.default_client().close()


def test_public_functions_read_the_url_from_a_file_whenever_they_are_called(
    environment: pytest.MonkeyPatch, redis_url: str, redis_client: redis.Redis, tmp_path: Path
) -> None:
    environment.setenv("REDIS_URL_FILE", str(tmp_path / "url"))
    with pytest.raises(SettingsError, match="No such file"):
        public.enqueue("a")
    (tmp_path / "url").write_text("redis://:s3cret@127.0.0.1:1")
    with pytest.raises(RedisUnavailable) as caught:
        public.enqueue("a")
    assert "s3cret" not in str(caught.value)
    (tmp_path / "url").write_text(f"{redis_url}\n")
    assert [public.enqueue("a")] == [task["id"] for task in taken(redis_client)]


@pytest.mark.parametrize("names", [("MULTIWORKER_REDIS",), ("REDIS_URL",), ("MULTIWORKER_REDIS", "REDIS_URL")])
def test_public_functions_use_the_redis_of_the_environment(
    environment: pytest.MonkeyPatch, redis_url: str, redis_client: redis.Redis, names: tuple[str, ...]
) -> None:
    environment.setenv("REDIS_URL", "redis://localhost:1")
    environment.setenv(names[0], redis_url)

    ids = [public.enqueue("a"), *public.enqueue_many([("b", 1)])]
    ids += [asyncio.run(public.aenqueue("c")), *asyncio.run(public.aenqueue_many([("d", 2)]))]

    assert [task["id"] for task in taken(redis_client)] == ids


def test_a_dictionary_in_the_place_of_the_environment_counts_as_one(
    environment: pytest.MonkeyPatch, redis_url: str, redis_client: redis.Redis
) -> None:
    environment.setattr(os, "environ", {"REDIS_URL": redis_url})

    task_id = public.enqueue("a")

    assert [task["id"] for task in taken(redis_client)] == [task_id]


def test_largest_payload_comes_from_the_environment(
    environment: pytest.MonkeyPatch, redis_url: str, redis_client: redis.Redis
) -> None:
    environment.setenv("MULTIWORKER_REDIS", redis_url)
    environment.setenv("MULTIWORKER_MAX_PAYLOAD", "1KiB")

    with pytest.raises(EncodeError, match="1024 are allowed"):
        public.enqueue("t", "x" * 1024)

    assert redis_client.dbsize() == 0
