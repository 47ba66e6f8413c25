"""Tasks are found by what they are, a bounded piece at a time."""

import json
from typing import Any

import pytest
import redis

from multiworker.worker import search
from multiworker.worker.client import Client
from multiworker.worker.commands import Command
from multiworker.worker.errors import Reason
from multiworker.worker.operate import Filter, Letter
from multiworker.worker.search import Searcher
from tests.broker.dying import KEYS, Ask, Worker, bury_many


@pytest.fixture
def searcher(client: Client) -> Searcher:
    return Searcher(client.ask, "async_tasks")


def data(letters: list[Letter]) -> list[Any]:
    return [letter.task and letter.task["data"] for letter in letters]


def pages(searcher: Searcher, wanted: Filter, **options: Any) -> list[Letter]:
    """All letters, page by page."""
    found = searcher.letters(wanted, **options)
    letters = found.letters
    while found.last:
        found = searcher.letters(wanted, beyond=found.last, **options)
        letters += found.letters
    return letters


def kill(as_worker: Ask, client: Client, *tasks: tuple[str, Any], reason: Reason = Reason.EXHAUSTED) -> None:
    client.enqueue_many(tasks)
    worker = Worker(as_worker, reason[:3])
    worker.bury([delivery for delivery, _ in worker.claim()], reason, "Traceback\n  why")


def test_nothing_is_found_where_there_is_nothing(searcher: Searcher, redis_client: redis.Redis) -> None:
    assert searcher.letters(Filter()).letters == []
    assert searcher.newest() == ""
    assert searcher.requeue_all(Filter(), "").done == 0
    assert searcher.delayed().tasks == []
    assert searcher.story("x").tasks == []
    assert redis_client.dbsize() == 0


def test_pages_go_either_way_and_meet_no_letter_twice(searcher: Searcher, redis_client: redis.Redis) -> None:
    bury_many(redis_client, 120)
    first = searcher.letters(Filter(), count=50)
    assert data(first.letters) == list(range(119, 69, -1))
    second = searcher.letters(Filter(), beyond=first.last, count=50)
    assert data(second.letters) == list(range(69, 19, -1))
    back = searcher.letters(Filter(), beyond=second.letters[0].entry, newest=False, count=50)
    assert data(back.letters) == list(range(70, 120))
    last = searcher.letters(Filter(), beyond=second.last, count=50)
    assert data(last.letters) == list(range(19, -1, -1))
    assert last.last == ""
    assert data(pages(searcher, Filter(), count=7)) == list(range(119, -1, -1))


@pytest.mark.parametrize("beyond", ["x", "-", "1-1 2-2", "99999999999999999999999-1", "5"])
def test_a_place_that_is_none_is_the_first(searcher: Searcher, redis_client: redis.Redis, beyond: str) -> None:
    bury_many(redis_client, 3)
    assert data(searcher.letters(Filter(), beyond=beyond, until=beyond).letters) == [2, 1, 0]


def test_letters_are_found_by_type_and_reason(searcher: Searcher, client: Client, as_worker: Ask) -> None:
    kill(as_worker, client, ("a", 1), ("b", 2), ("a", 3))
    kill(as_worker, client, ("a", 4), ("b", "a"), reason=Reason.REJECTED)
    assert data(searcher.letters(Filter("a")).letters) == [4, 3, 1]
    assert data(searcher.letters(Filter("a", "rejected")).letters) == [4]
    assert data(searcher.letters(Filter(None, "attempts exhausted")).letters) == [3, 2, 1]
    assert searcher.letters(Filter("c")).letters == []


@pytest.mark.parametrize(
    "payload",
    [
        b'{"type": "\\u0061/b", "data": 1}',
        b'{"type" : "a\\/b", "data": 1}',
        b'{"data": 1, "type": "a/b"}',
    ],
)
def test_a_type_is_found_however_it_is_written(
    searcher: Searcher, as_worker: Ask, redis_client: redis.Redis, payload: bytes
) -> None:
    redis_client.lpush("async_tasks", b'{"type": "other", "data": "a/b"}', payload)
    worker = Worker(as_worker)
    worker.bury([delivery for delivery, _ in worker.claim()], Reason.REJECTED, "")
    assert [letter.payload for letter in searcher.letters(Filter("a/b")).letters] == [payload]


def test_letters_are_found_by_either_id(searcher: Searcher, client: Client, as_worker: Ask) -> None:
    client.enqueue("t", 1, id="given")
    worker = Worker(as_worker)
    ((delivery, frame),) = worker.claim()
    worker.bury([delivery], Reason.REJECTED, "")
    for task_id in ("given", frame.id):
        assert data(searcher.letters(Filter(id=task_id)).letters) == [1]
    assert searcher.letters(Filter(id="t")).letters == []


def test_a_search_gives_up_and_says_how_far_it_came(
    searcher: Searcher, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "STEP", 100)
    bury_many(redis_client, 1000)
    found = searcher.letters(Filter("rare"), patience=0)
    assert (found.letters, found.seen) == ([], 100)
    assert searcher.letters(Filter("rare"), patience=100).seen == 1000
    assert len(pages(searcher, Filter("t"), patience=0, count=30)) == 1000


def test_redis_looks_at_few_letters_in_a_call(client: Client, redis_client: redis.Redis) -> None:
    looked: list[int] = []

    def ask(command: Command) -> Any:
        reply = client.ask(command)
        looked.append(reply[0])
        return reply

    bury_many(redis_client, 2500)
    assert Searcher(ask, "async_tasks").letters(Filter("rare"), patience=100).seen == 2500
    assert looked == [1000, 1000, 500]
    # and of large ones even fewer
    redis_client.delete(KEYS.dead)
    bury_many(redis_client, 10, '{"type":"t","data":"%d' + "x" * 1_000_000 + '"}')
    looked.clear()
    Searcher(ask, "async_tasks").letters(Filter("rare"), patience=100)
    assert looked == [5, 5, 0]


@pytest.mark.parametrize(("how", "left"), [("requeue_all", 1000), ("discard_all", 0)])
def test_all_that_match_are_handled_and_younger_ones_left_alone(
    searcher: Searcher, client: Client, as_worker: Ask, redis_client: redis.Redis, how: str, left: int
) -> None:
    bury_many(redis_client, 1000)
    kill(as_worker, client, ("other", 1))
    until = searcher.newest()
    kill(as_worker, client, ("t", "young"), reason=Reason.REJECTED)

    swept = getattr(searcher, how)(Filter("t"), until, patience=100)

    assert (swept.done, swept.cut, swept.last) == (1000, 0, "")
    assert data(searcher.letters(Filter()).letters) == ["young", 1]
    assert redis_client.zcard(KEYS.scheduled) == left


def test_what_could_not_be_handled_in_time_is_handled_by_the_next_call(
    searcher: Searcher, redis_client: redis.Redis
) -> None:
    bury_many(redis_client, 1200)
    until, last = searcher.newest(), ""
    done: list[int] = []
    while not done or last:
        swept = searcher.requeue_all(Filter(), until, last, patience=0)
        done.append(swept.done)
        last = swept.last
    assert done[:3] == [500, 500, 200]
    assert sum(done) == redis_client.zcard(KEYS.scheduled) == 1200


def test_letters_without_their_whole_payload_stay(searcher: Searcher, redis_client: redis.Redis) -> None:
    for size in (5, 50):
        redis_client.xadd(KEYS.dead, {"id": f"i{size}", "reason": "too large", "size": size, "payload": "12345"})
    swept = searcher.requeue_all(Filter(), searcher.newest())
    assert (swept.done, swept.cut, swept.last) == (1, 1, "")
    assert len(searcher.letters(Filter()).letters) == 1


def test_what_is_put_off_is_shown_by_due_time(searcher: Searcher, client: Client, redis_client: redis.Redis) -> None:
    for number in range(40):
        client.enqueue("t", number, delay=1000 + number, priority=number % 3, id=f"n{number}")
    first = searcher.delayed(count=25)
    second = searcher.delayed(first.at, count=25)
    tasks = first.tasks + second.tasks
    assert [json.loads(task.head)["data"] for task in tasks] == list(range(40))
    assert [task.priority for task in tasks] == [number % 3 for number in range(40)]
    assert [task.id for task in tasks] == [f"n{number}" for number in range(40)]
    due = tasks[5].due
    assert due
    assert 900 < (due - first.now).total_seconds() <= 1005
    assert searcher.delayed(second.at).tasks == []


def test_a_task_is_found_wherever_it_is(
    searcher: Searcher, client: Client, as_worker: Ask, redis_client: redis.Redis
) -> None:
    def places(task_id: str) -> list[tuple[str, str]]:
        return [(task.place, task.worker) for task in searcher.story(task_id).tasks]

    client.enqueue("t", 1, id="one")
    assert places("one") == [("waiting", "")]
    assert searcher.story("one").tasks[0].type == "t"
    worker = Worker(as_worker, "somebody")
    ((delivery, frame),) = worker.claim()
    assert places("one") == places(frame.id) == [("running", "somebody")]
    worker.bury([delivery], Reason.REJECTED, "why")
    story = searcher.story("one")
    assert (story.tasks, [letter.detail for letter in story.letters], story.partly) == ([], ["why"], [])
    client.enqueue("t", delay=100, id="late")
    client.enqueue("t", priority=5, id="urgent")
    redis_client.lpush(KEYS.suspects, b'w.1.1 2 2\n{"id": "bad", "type": "t"}')
    redis_client.lpush(KEYS.handoff, b'{"id": "next", "type": "t"}')
    assert [places(name) for name in ("late", "urgent", "bad", "next", "late ", "%", "")] == [
        [("scheduled", "")],
        [("priority", "")],
        [("suspects", "")],
        [("handoff", "")],
        *[[]] * 3,
    ]
    assert (searcher.story("bad").tasks[0].attempt, searcher.story("bad").tasks[0].crashes) == (2, 2)


def test_a_long_queue_is_searched_in_part_and_that_is_told(searcher: Searcher, redis_client: redis.Redis) -> None:
    redis_client.lpush("async_tasks", *[f'{{"id": "n{n}", "type": "t"}}' for n in range(7000)])
    assert searcher.story("n4999").tasks
    story = searcher.story("n6000")
    assert (story.tasks, story.partly) == ([], ["waiting"])
