"""The operator's view against a real Redis; tasks die by the workers' own scripts."""

import json
import threading
from typing import Any

import pytest
import redis

from multiworker.worker.client import Client
from multiworker.worker.commands import Command
from multiworker.worker.errors import Reason, RedisUnavailable, SettingsError
from multiworker.worker.message import Frame
from multiworker.worker.operate import PAGE, PAGE_BYTES, Depths, Filter, Operator
from tests.broker.dying import KEYS, LIMIT, Ask, Worker, bury_many

EMPTY = Depths(*[0] * 10)


@pytest.fixture
def operator(client: Client) -> Operator:
    return Operator(client.ask, "async_tasks")


def dead_bytes(redis_client: redis.Redis) -> int:
    return int(redis_client.hget(KEYS.counters, "dead_bytes") or 0)


def test_an_unknown_queue_is_empty(operator: Operator, redis_client: redis.Redis) -> None:
    assert operator.depths() == EMPTY
    assert operator.peek(10) == []
    assert list(operator.letters(Filter())) == []
    assert list(operator.matching(Filter())) == []
    assert operator.purge(everything=True) == 0
    assert redis_client.dbsize() == 0


def test_impossible_queues_are_refused(client: Client) -> None:
    with pytest.raises(SettingsError):
        Operator(client.ask, "a}b")


def test_depths_say_what_lies_where(
    operator: Operator, client: Client, as_worker: Ask, redis_client: redis.Redis
) -> None:
    client.enqueue_many([("t", number) for number in range(20)])
    one, two = Worker(as_worker, "one"), Worker(as_worker, "two")
    held = [*one.claim(2), *two.claim(3)]
    two.bury([held[-1][0]], Reason.REJECTED, "")
    redis_client.blmove("async_tasks", KEYS.handoff, 1, "RIGHT", "LEFT")
    client.enqueue("t", delay=60)
    client.enqueue("t", delay=60, priority=5)
    for priority in (-1, 1):
        client.enqueue("t", priority=priority)
    redis_client.rpush(KEYS.suspects, "s 1 2\n{}")
    redis_client.hset(KEYS.counters, "dead_dropped", 7)
    redis_client.zadd(KEYS.workers, {"*tick": 1})

    depths = operator.depths()

    assert depths == Depths(
        waiting=14,
        handoff=1,
        scheduled=2,
        priority=2,
        suspects=1,
        in_flight=4,
        workers=2,
        dead=1,
        dead_bytes=dead_bytes(redis_client),
        dead_dropped=7,
    )
    assert depths.dead_bytes > 0


def test_bells_are_no_tasks(operator: Operator, redis_client: redis.Redis) -> None:
    redis_client.lpush("async_tasks", "", "", "a", "b")
    redis_client.lpush(KEYS.handoff, "", "c")

    assert (operator.depths().waiting, operator.depths().handoff) == (2, 1)
    assert [task.head for task in operator.peek(10)] == [b"c", b"a", b"b"]
    assert operator.purge() == 3


def test_peek_shows_tasks_in_the_order_in_which_they_are_taken(
    operator: Operator, client: Client, as_worker: Ask, redis_client: redis.Redis
) -> None:
    redis_client.lpush("async_tasks", "")
    client.enqueue_many([("t", number) for number in range(90)])
    for _ in range(30):
        redis_client.blmove("async_tasks", KEYS.handoff, 1, "RIGHT", "LEFT")

    for priority in (-2, 3, -1, 50, 3):
        client.enqueue("t", priority=priority)
    client.enqueue("t", priority=9, delay=60)

    first, everything = operator.peek(25), operator.peek(1000)

    taken = [frame.payload for _, frame in Worker(as_worker).claim(100)]
    assert [task.head for task in everything] == taken
    assert [task.priority for task in everything] == [50, 3, 3, *[0] * 90, -1, -2]
    assert first == everything[:25]
    assert operator.peek(2) == []


def test_peek_shows_what_others_put_among_the_priorities_as_it_is(
    operator: Operator, redis_client: redis.Redis
) -> None:
    redis_client.zadd(KEYS.priority, {"no header": -1, "t 1 0\nplain": -2, "t 1 0 p500.1\nx": 1})

    shown = [(task.priority, task.head) for task in operator.peek(10)]

    assert shown == [(0, b"plain"), (0, b"no header"), (0, b"t 1 0 p500.1\nx")]


def test_peek_cuts_long_payloads(operator: Operator, redis_client: redis.Redis) -> None:
    redis_client.lpush("async_tasks", "x" * 100_000)

    (task,) = operator.peek(10, cut=50)

    assert (task.size, task.head) == (100_000, b"x" * 50)


@pytest.mark.parametrize(("everything", "purged", "left"), [(False, 15, 5), (True, 20, 0)])
def test_purge_deletes_what_waits_and_nothing_else(
    operator: Operator,
    client: Client,
    as_worker: Ask,
    redis_client: redis.Redis,
    everything: bool,  # noqa: FBT001
    purged: int,
    left: int,
) -> None:
    client.enqueue_many([("t", number) for number in range(18)])
    worker = Worker(as_worker)
    held = worker.claim(3)
    worker.bury([held[0][0]], Reason.REJECTED, "")
    redis_client.blmove("async_tasks", KEYS.handoff, 1, "RIGHT", "LEFT")
    for delay, priority in ((60, 0), (60, 5), (0, -1), (0, 1)):
        client.enqueue("t", delay=delay, priority=priority)
    redis_client.rpush(KEYS.suspects, "s 1 2\n{}")

    assert operator.purge(everything=everything) == purged

    depths = operator.depths()
    assert (depths.waiting, depths.handoff, depths.in_flight, depths.dead) == (0, 0, 2, 1)
    assert depths.scheduled + depths.priority + depths.suspects == left


def test_letters_tell_what_died_and_why(operator: Operator, client: Client, as_worker: Ask) -> None:
    client.enqueue("email", {"to": "x"}, id="mine")
    worker = Worker(as_worker)
    ((delivery, frame),) = worker.claim()
    worker.bury([delivery], Reason.EXHAUSTED, "Traceback\n  boom")

    (letter,) = operator.letters(Filter())

    assert (letter.id, letter.attempt, letter.crashes) == (frame.id, 1, 0)
    assert (letter.reason, letter.detail, letter.worker) == ("attempts exhausted", "Traceback\n  boom", "w")
    assert (letter.payload, letter.size, letter.sha256) == (frame.payload, len(frame.payload), "")
    assert letter.task == {"id": "mine", "type": "email", "data": {"to": "x"}}
    assert not letter.is_cut
    assert operator.letter(letter.entry) == letter
    assert abs(letter.time.timestamp() * 1000 - int(letter.entry.split("-")[0])) < 1


def test_requeued_letters_have_their_priority_again(
    operator: Operator, client: Client, as_worker: Ask, redis_client: redis.Redis
) -> None:
    for priority in (-5, 0, 7):
        client.enqueue("t", priority=priority)
    worker = Worker(as_worker)
    worker.bury([delivery for delivery, _ in worker.claim()], Reason.REJECTED, "")

    letters = list(operator.letters(Filter(), newest=False))
    operator.requeue([letter.entry for letter in letters])

    assert [letter.priority for letter in letters] == [7, 0, -5]
    assert [task.priority for task in operator.peek(10)] == [7, -5]
    assert redis_client.zcard(KEYS.scheduled) == 1


@pytest.mark.parametrize("forged", ["500", "0", "-0", "1.5", "x", "5.1", "1e1"])
def test_a_forged_priority_of_a_dead_letter_counts_for_nothing(
    operator: Operator, redis_client: redis.Redis, forged: str
) -> None:
    fields = {"id": "t", "attempt": 1, "crashes": 0, "size": 1, "payload": "x", "priority": forged}
    entry: Any = redis_client.xadd(KEYS.dead, fields)  # type: ignore[arg-type]
    redis_client.hset(KEYS.counters, "dead_bytes", 100)

    assert operator.requeue([entry.decode()]).done == [entry.decode()]

    assert redis_client.zrange(KEYS.scheduled, 0, -1) == [b"t 1 0\nx"]


def test_letters_come_newest_or_oldest_first_over_many_pages(operator: Operator, redis_client: redis.Redis) -> None:
    bury_many(redis_client, 2 * PAGE + 10)

    oldest = [letter.id for letter in operator.letters(Filter(), newest=False)]
    newest = [letter.id for letter in operator.letters(Filter())]

    assert oldest == [f"task-{number}" for number in range(2 * PAGE + 10)]
    assert newest == oldest[::-1]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Filter(), ["a", "b", "c", "-"]),
        (Filter(type="email"), ["a", "b"]),
        (Filter(type="none"), []),
        (Filter(reason=Reason.REJECTED), ["b", "c"]),
        (Filter(reason=Reason.NOT_JSON), ["-"]),
        (Filter(type="email", reason=Reason.REJECTED), ["b"]),
        (Filter(id="c"), ["c"]),
        (Filter(id="w.1.1"), ["a"]),
        (Filter(id="w.1.4"), ["-"]),
    ],
)
def test_letters_are_chosen_by_type_reason_and_id(
    operator: Operator, client: Client, as_worker: Ask, redis_client: redis.Redis, wanted: Filter, expected: list[str]
) -> None:
    for kind, task_id in (("email", "a"), ("email", "b"), ("sms", "c")):
        client.enqueue(kind, id=task_id)
    redis_client.lpush("async_tasks", "{nonsense")
    worker = Worker(as_worker)
    deliveries = [delivery for delivery, _ in worker.claim()]
    worker.bury(deliveries[:1], Reason.EXHAUSTED, "")
    worker.bury(deliveries[1:3], Reason.REJECTED, "")
    worker.bury(deliveries[3:], Reason.NOT_JSON, "")

    found = list(operator.letters(wanted, newest=False))
    named = [entry for page in operator.matching(wanted) for entry in page]

    assert [(letter.task or {"id": "-"})["id"] for letter in found] == expected
    assert named == [letter.entry for letter in found]


@pytest.mark.parametrize(
    "entry", ["", "x", "1", "1-", "-1", "1-1-1", "1-1", f"{2**64}-0", "9" * 30 + "-0", "+", "(1-1"]
)
def test_letters_that_are_not_there(operator: Operator, redis_client: redis.Redis, entry: str) -> None:
    bury_many(redis_client, 1)

    assert operator.letter(entry) is None
    assert operator.requeue([entry]).gone == [entry]
    assert operator.discard([entry]).gone == [entry]
    assert operator.depths().dead == 1


def test_requeued_tasks_run_again_as_if_they_had_never_run(
    operator: Operator, as_worker: Ask, redis_client: redis.Redis
) -> None:
    bury_many(redis_client, 3)
    entries = [letter.entry for letter in operator.letters(Filter(), newest=False)]

    handled = operator.requeue([entries[0], entries[2]])

    assert (handled.done, handled.gone, handled.cut) == ([entries[0], entries[2]], [], [])
    frames = [frame for _, frame in Worker(as_worker).claim()]
    assert frames == [
        Frame("task-0", 1, 0, b'{"type":"t","data":0}'),
        Frame("task-2", 1, 0, b'{"type":"t","data":2}'),
    ]
    assert [letter.entry for letter in operator.letters(Filter())] == [entries[1]]


def test_requeue_wakes_an_idle_worker(operator: Operator, redis_client: redis.Redis) -> None:
    bury_many(redis_client, 1)
    woken: list[Any] = []

    def wait() -> None:
        woken.append(redis_client.blmove("async_tasks", KEYS.handoff, 30, "RIGHT", "LEFT"))

    thread = threading.Thread(target=wait)
    thread.start()
    operator.requeue([letter.entry for letter in operator.letters(Filter())])
    thread.join(30)

    assert woken == [b""]


def test_each_letter_is_requeued_once_however_many_ask(
    operator: Operator, client: Client, redis_client: redis.Redis
) -> None:
    bury_many(redis_client, 300)
    entries = [letter.entry for letter in operator.letters(Filter())]
    results: list[list[str]] = []
    start = threading.Barrier(6)

    def ask() -> None:
        start.wait()
        results.extend(operator.requeue([entry]).done for entry in entries)

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(entry for done in results for entry in done) == sorted(entries)
    assert redis_client.zcard(KEYS.scheduled) == 300
    assert operator.requeue([entries[0], entries[0]]).gone == [entries[0]] * 2


def test_tasks_asked_for_twice_in_one_call_run_once(operator: Operator, redis_client: redis.Redis) -> None:
    bury_many(redis_client, 1)
    (entry,) = [letter.entry for letter in operator.letters(Filter())]

    handled = operator.requeue([entry, entry])

    assert (handled.done, handled.gone) == ([entry], [entry])
    assert redis_client.zcard(KEYS.scheduled) == 1


def test_a_cut_payload_is_not_requeued(operator: Operator, as_worker: Ask, redis_client: redis.Redis) -> None:
    redis_client.lpush("async_tasks", b"x" * 1_200_000)
    worker = Worker(as_worker)
    ((delivery, _),) = worker.claim()
    worker.bury([delivery], Reason.TOO_LARGE, "a" * 64)

    (letter,) = operator.letters(Filter())
    handled = operator.requeue([letter.entry])

    assert (letter.size, letter.sha256, letter.is_cut) == (1_200_000, "a" * 64, True)
    assert (handled.done, handled.cut) == ([], [letter.entry])
    assert operator.depths().dead == 1
    assert operator.discard([letter.entry]).done == [letter.entry]


def test_a_large_payload_that_is_whole_is_requeued(
    operator: Operator, as_worker: Ask, redis_client: redis.Redis
) -> None:
    redis_client.lpush("async_tasks", json.dumps({"type": "t", "data": "x" * LIMIT}))
    assert Worker(as_worker).claim() == []

    (letter,) = operator.letters(Filter(reason=Reason.TOO_LARGE))

    assert operator.requeue([letter.entry]).done == [letter.entry]


def test_foreign_entries_are_shown_and_discarded_but_not_run(operator: Operator, redis_client: redis.Redis) -> None:
    redis_client.xadd(KEYS.dead, {"hello": "world"})
    redis_client.xadd(KEYS.dead, {"id": "not an id", "size": "2", "payload": "{}", "reason": b"\xff"})

    letters = list(operator.letters(Filter(), newest=False))
    entries = [letter.entry for letter in letters]

    assert [(letter.id, letter.payload) for letter in letters] == [("", b""), ("not an id", b"{}")]
    assert operator.requeue(entries).cut == entries
    assert operator.discard(entries).done == entries


@pytest.mark.parametrize("way", ["requeue", "discard"])
def test_bytes_of_the_dead_letters_stay_right(operator: Operator, redis_client: redis.Redis, way: str) -> None:
    bury_many(redis_client, 10)
    before = dead_bytes(redis_client)
    entries = [letter.entry for letter in operator.letters(Filter(), newest=False)]

    getattr(operator, way)(entries[:5])
    half = dead_bytes(redis_client)
    getattr(operator, way)(entries)

    assert 0 < half < before
    assert dead_bytes(redis_client) == 0
    assert redis_client.xlen(KEYS.dead) == 0


def test_what_dies_meanwhile_is_not_requeued_again(operator: Operator, redis_client: redis.Redis) -> None:
    bury_many(redis_client, 2 * PAGE)

    pages = 0
    for page in operator.matching(Filter()):
        pages += 1
        operator.requeue(page)
        bury_many(redis_client, len(page))

    assert pages == 2
    assert operator.depths().dead == 2 * PAGE


def test_a_hundred_thousand_letters_go_by_in_small_pages(client: Client, redis_client: redis.Redis) -> None:
    bury_many(redis_client, 100_000)
    largest = 0

    def ask(command: Command) -> Any:
        nonlocal largest
        reply = client.ask(command)
        largest = max(largest, len(command), len(reply) if isinstance(reply, list) else 1)
        return reply

    operator = Operator(ask, "async_tasks")

    chosen = sum(1 for _ in operator.letters(Filter(type="t", reason=Reason.REJECTED)))
    discarded = sum(len(operator.discard(page[:100]).done) for page in operator.matching(Filter()))
    requeued = sum(len(operator.requeue(page).done) for page in operator.matching(Filter()))

    assert chosen == 100_000
    assert discarded == 100 * 100_000 // PAGE
    assert requeued == 100_000 - discarded
    assert redis_client.zcard(KEYS.scheduled) == requeued
    assert dead_bytes(redis_client) == 0
    assert largest <= 2 * PAGE + 20


def test_pages_of_large_letters_are_bounded_in_bytes(client: Client, redis_client: redis.Redis) -> None:
    bury_many(redis_client, 40, '{"type":"t","data":"%d' + "x" * 200_000 + '"}')
    operator = Operator(client.ask, "async_tasks")

    pages = list(operator._pages("-", "+", newest=False))

    assert sum(map(len, pages)) == 40
    assert all(sum(letter.size for letter in page) <= PAGE_BYTES for page in pages)
    assert [len(page) for page in operator.matching(Filter())] == [len(page) for page in pages]


def test_works_while_memory_is_full(private_redis: Any) -> None:
    client = Client(private_redis.url)
    operator = Operator(client.ask, "async_tasks")
    with redis.Redis.from_url(private_redis.url) as redis_client:
        bury_many(redis_client, 10)
        operator.depths()
        operator.requeue([])
        operator.discard(["1-1"])
        operator.requeue(["1-1"])
        entries = [letter.entry for letter in operator.letters(Filter())]
        redis_client.config_set("maxmemory", 1)
        with pytest.raises(RedisUnavailable, match=r"OOM|maxmemory"):
            client.enqueue("t")

        assert operator.depths().dead == 10
        assert operator.requeue(entries[:5]).done == entries[:5]
        assert operator.discard(entries[5:]).done == entries[5:]
    client.close()
