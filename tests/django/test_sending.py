"""Tasks go out when the transaction is committed, and only then."""

import contextlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from asgiref.sync import async_to_sync
from django.conf import settings
from django.db import connections, transaction
from django.test import override_settings

from multiworker import EncodeError, RedisUnavailable
from multiworker.django import aenqueue, enqueue, enqueue_many
from multiworker.django.sending import on_commit
from tests.django.project.app.models import Note

pytestmark = pytest.mark.usefixtures("project", "database")


@contextlib.contextmanager
def rolled_back(using: str | None = None) -> Iterator[None]:
    """A transaction, or a savepoint in one, that comes to nothing."""
    with transaction.atomic(using):
        yield
        transaction.set_rollback(True, using)


@pytest.fixture
def second(tmp_path: Path) -> Iterator[str]:
    """Another database of the project; its alias."""
    alias = "second"
    connections.settings[alias] = connections.settings["default"] | {"NAME": str(tmp_path / "second.sqlite3")}
    yield alias
    connections[alias].close()
    del connections[alias], connections.settings[alias]


def sent(client: "redis.Redis", queue: str = "async_tasks") -> list[dict[str, Any]]:
    """What lies in a list, in the order in which it is taken."""
    return [json.loads(task) for task in reversed(client.lrange(queue, 0, -1))]


def test_outside_a_transaction_a_task_is_sent_at_once(redis_client: "redis.Redis") -> None:
    id_ = enqueue("note", {"text": "x"})
    assert sent(redis_client) == [{"id": id_, "type": "note", "data": {"text": "x"}}]


def test_no_connection_is_made_to_find_out_that_there_is_no_transaction() -> None:
    connections.close_all()
    enqueue("note")
    assert connections["default"].connection is None


def test_a_task_is_sent_when_the_transaction_is_committed(redis_client: "redis.Redis") -> None:
    with transaction.atomic():
        data = {"text": "as it was"}
        id_ = enqueue("note", data, id="mine", queue="other")
        data["text"] = "changed"
        assert id_ == "mine"
        assert sent(redis_client, "other") == []
    assert sent(redis_client, "other") == [{"id": "mine", "type": "note", "data": {"text": "as it was"}}]


def test_a_transaction_that_is_rolled_back_sends_nothing(redis_client: "redis.Redis") -> None:
    with rolled_back():
        enqueue("note")
        enqueue_many([("note", n) for n in range(3)])
    assert sent(redis_client) == []
    enqueue("later")
    assert [task["type"] for task in sent(redis_client)] == ["later"]


def test_what_is_inside_a_savepoint_shares_its_fate(redis_client: "redis.Redis") -> None:
    with transaction.atomic():
        enqueue("before")
        with rolled_back():
            enqueue("lost")
            with transaction.atomic():
                enqueue("lost, too")
        with transaction.atomic():
            enqueue("nested")
        assert sent(redis_client) == []
    assert [task["type"] for task in sent(redis_client)] == ["before", "nested"]


def test_a_call_may_decide_otherwise(redis_client: "redis.Redis") -> None:
    with rolled_back():
        enqueue("now", on_commit=False)
        enqueue_many([("now", None)], on_commit=False)
        assert len(sent(redis_client)) == 2
    assert len(sent(redis_client)) == 2


def test_and_so_may_the_setting(redis_client: "redis.Redis") -> None:
    with override_settings(MULTIWORKER={**settings.MULTIWORKER, "ON_COMMIT": False}), transaction.atomic():
        enqueue("now")
        enqueue("later", on_commit=True)
        assert [task["type"] for task in sent(redis_client)] == ["now"]
    assert [task["type"] for task in sent(redis_client)] == ["now", "later"]


def test_each_database_has_its_own_commit(redis_client: "redis.Redis", second: str) -> None:
    with transaction.atomic():
        enqueue("of no transaction", using=second)
        assert len(sent(redis_client)) == 1
        with transaction.atomic(using=second):
            enqueue("of the second", using=second)
            enqueue("of the first")
            assert len(sent(redis_client)) == 1
        assert len(sent(redis_client)) == 2
    assert [task["type"] for task in sent(redis_client)] == ["of no transaction", "of the second", "of the first"]


def test_the_setting_names_the_database(redis_client: "redis.Redis", second: str) -> None:
    with override_settings(MULTIWORKER={**settings.MULTIWORKER, "DATABASE": second}):
        with transaction.atomic():
            enqueue("at once")
            assert len(sent(redis_client)) == 1
        with rolled_back(using=second):
            enqueue("never")
    assert len(sent(redis_client)) == 1


def test_what_is_wrong_is_told_at_the_call_not_at_the_commit() -> None:
    with transaction.atomic():
        for wrong in (
            {"data": object()},
            {"data": float("nan")},
            {"data": "x" * 300_000},
            {"delay": -1},
            {"confirm": -1},
            {"id": ""},
        ):
            with pytest.raises((EncodeError, ValueError)):
                enqueue("note", **wrong)
        with pytest.raises(EncodeError, match="task 1"):
            enqueue_many([("note", 1), ("note", object())])


def test_many_go_out_in_order_with_the_ids_that_were_returned(redis_client: "redis.Redis") -> None:
    with transaction.atomic():
        ids = enqueue_many(("note", n) for n in range(2500))
        assert sent(redis_client) == []
    assert [task["id"] for task in sent(redis_client)] == ids
    assert [task["data"] for task in sent(redis_client)] == list(range(2500))


def test_a_delay_begins_when_the_task_is_sent(redis_client: "redis.Redis") -> None:
    with transaction.atomic():
        enqueue("note", delay=1000)
        assert redis_client.zcard("{async_tasks}:scheduled") == 0
    assert redis_client.zcard("{async_tasks}:scheduled") == 1


def test_a_send_that_fails_is_told_by_the_commit_which_stands() -> None:
    @transaction.atomic
    def keep() -> None:
        Note.objects.create(key="kept")
        enqueue("note")

    with override_settings(MULTIWORKER={"REDIS": "redis://localhost:1"}):
        with pytest.raises(RedisUnavailable):
            keep()
        assert Note.objects.filter(key="kept").exists()


def test_code_that_commits_by_hand_is_told_to_say_when(redis_client: "redis.Redis") -> None:
    transaction.set_autocommit(False)
    try:
        with pytest.raises(transaction.TransactionManagementError):
            enqueue("note")
        enqueue("note", on_commit=False)
    finally:
        transaction.rollback()
        transaction.set_autocommit(True)
    assert len(sent(redis_client)) == 1


def test_an_async_caller_waits_for_the_transaction_around_it(redis_client: "redis.Redis") -> None:
    async def work() -> str:
        return await aenqueue("note", {"n": 1})

    with transaction.atomic():
        id_ = async_to_sync(work)()
        assert sent(redis_client) == []
    assert [task["id"] for task in sent(redis_client)] == [id_]
    with rolled_back():
        async_to_sync(work)()
    assert len(sent(redis_client)) == 1


def test_an_async_caller_without_a_transaction_sends_at_once(redis_client: "redis.Redis") -> None:
    async def work() -> str:
        return await aenqueue("note", {"n": 1}, delay=0, queue="q")

    id_ = async_to_sync(work)()
    assert [task["id"] for task in sent(redis_client, "q")] == [id_]


def test_an_async_caller_may_not_want_to_wait(redis_client: "redis.Redis") -> None:
    async def work() -> str:
        return await aenqueue("note", on_commit=False)

    with rolled_back():
        async_to_sync(work)()
    assert len(sent(redis_client)) == 1


def test_a_thread_has_transactions_of_its_own(redis_client: "redis.Redis") -> None:
    with transaction.atomic():
        thread = threading.Thread(target=enqueue, args=["note"])
        thread.start()
        thread.join()
        assert len(sent(redis_client)) == 1


def test_anything_can_wait_for_the_commit() -> None:
    called: list[int] = []
    with transaction.atomic():
        on_commit(lambda: called.append(1))
        on_commit(lambda: called.append(2), now=True)
        assert called == [2]
    on_commit(lambda: called.append(3), now=False)
    assert called == [2, 1, 3]
