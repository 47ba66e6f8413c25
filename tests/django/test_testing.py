"""What projects test with: tasks are collected, looked at and run. The project's Redis is one that is not there."""

import subprocess
import sys
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import transaction
from django.test import SimpleTestCase, TestCase, TransactionTestCase

from multiworker import RedisUnavailable
from multiworker.django import aenqueue, enqueue, enqueue_many
from multiworker.django.compat import TaskResultStatus
from multiworker.django.testing import CollectTasksMixin, SentTasks, collect_tasks
from tests.django.project.app import tasks
from tests.django.project.app.models import Note

pytestmark = pytest.mark.usefixtures("_tables")


def keys() -> list[str]:
    return [note.key for note in Note.objects.order_by("pk")]


class InATransaction(CollectTasksMixin, TestCase):
    """Inside the transaction that Django's TestCase never commits."""

    def test_both_kinds_are_collected_in_order(self) -> None:
        id_ = enqueue("note", {"text": "x"}, queue="q", delay=3, priority=-4)
        result = tasks.add.enqueue(1, 2)
        enqueue("last", on_commit=False)
        first, second, last = self.tasks
        assert (first.id, first.type, first.data) == (id_, "note", {"text": "x"})
        assert (first.queue, first.delay, first.priority) == ("q", 3.0, -4)
        assert (second.id, second.type) == (result.id, "tests.django.project.app.tasks.add")
        assert second.data == {"args": [1, 2], "kwargs": {}}
        assert self.tasks[1:] == [second, last]

    def test_a_transaction_of_the_code_counts_and_that_of_the_test_does_not(self) -> None:
        with transaction.atomic():
            enqueue("note", {"text": "kept"})
            tasks.add.enqueue(1, 1)
            assert len(self.tasks) == 0
            with transaction.atomic():
                enqueue("note", {"text": "lost"})
                transaction.set_rollback(True)
            with transaction.atomic(savepoint=False):
                enqueue("note", {"text": "kept, too"})
        assert [task.type.rpartition(".")[2] for task in self.tasks] == ["note", "add", "note"]
        assert [task.data["text"] for task in self.tasks.of("note")] == ["kept", "kept, too"]

    def test_what_django_runs_on_commit_is_not_sent_twice(self) -> None:
        with self.captureOnCommitCallbacks(execute=True), transaction.atomic():
            enqueue("note")
        assert len(self.tasks) == 1

    def test_they_run_here_with_all_that_they_send(self) -> None:
        enqueue("more", {"n": 2})
        enqueue("anote", {"text": "a"})
        result = tasks.note.enqueue("by a task")
        failing = tasks.fail.enqueue("no")
        assert self.tasks.run() == [None, "a", None, None, None, None]
        assert keys() == ["more 1", "anote 1", "by a task", "more 1", "more 1"]
        assert result.status == TaskResultStatus.SUCCESSFUL
        assert failing.status == TaskResultStatus.FAILED
        assert failing.errors[0].exception_class is ValueError
        assert len(self.tasks) == 0

    def test_an_error_is_the_tests_and_leaves_the_rest(self) -> None:
        enqueue("broken", 7)
        enqueue("note", {"text": "x"})
        with pytest.raises(ZeroDivisionError, match="7"):
            self.tasks.run()
        self.tasks.assert_sent("note")

    def test_assertions_say_what_was_sent(self) -> None:
        enqueue_many([("note", {"n": 1}), ("note", {"n": 2})])
        self.tasks.assert_sent("note", times=2)
        self.tasks.assert_sent("note", {"n": 2})
        self.tasks.assert_sent("other", times=0)
        with pytest.raises(AssertionError, match=r"note with \{'n': 3\} was sent 0 times, not 1(.|\n)*note \{'n': 1\}"):
            self.tasks.assert_sent("note", {"n": 3})
        self.tasks.clear()
        with pytest.raises(AssertionError, match="nothing"):
            self.tasks.assert_sent("note")

    async def test_async_tests_have_them_too(self) -> None:
        await aenqueue("anote", {"text": "a"})
        await tasks.anote.aenqueue("by a task")

        def in_a_transaction() -> None:
            with transaction.atomic():
                enqueue("note", {"text": "x"})

        await sync_to_async(in_a_transaction)()
        assert len(self.tasks) == 3
        assert await self.tasks.arun() == ["a", None, "x"]
        assert await sync_to_async(keys)() == ["anote 1", "by a task", "note 1"]

    def test_each_test_begins_with_none(self) -> None:
        assert list(self.tasks) == []
        assert repr(self.tasks) == "<0 tasks: >"


class WithRealTransactions(CollectTasksMixin, TransactionTestCase):
    def test_the_commit_counts(self) -> None:
        with transaction.atomic():
            enqueue("note", {"text": "x"})
            assert len(self.tasks) == 0
        assert len(self.tasks) == 1
        with transaction.atomic():
            enqueue("note")
            transaction.set_rollback(True)
        assert len(self.tasks) == 1


class WithoutADatabase(CollectTasksMixin, SimpleTestCase):
    def test_no_database_is_needed(self) -> None:
        enqueue("note", on_commit=False)
        assert len(self.tasks) == 1


def test_outside_of_it_tasks_go_to_redis_again() -> None:
    with collect_tasks() as outer:
        enqueue("a")
        with collect_tasks() as inner:
            enqueue("b")
        enqueue("c")
    assert [task.type for task in outer] == ["a", "c"]
    assert [task.type for task in inner] == ["b"]
    with pytest.raises(RedisUnavailable):
        enqueue("d")


@pytest.mark.usefixtures("database")
def test_tasks_that_send_each_other_without_end_are_stopped(
    monkeypatch: pytest.MonkeyPatch, sent_tasks: SentTasks
) -> None:
    monkeypatch.setattr("multiworker.django.testing.MOST", 10)
    enqueue("more", {"n": 100})
    with pytest.raises(AssertionError, match="10 tasks have run"):
        sent_tasks.run()
    assert len(keys()) == 10


def test_pytest_has_a_fixture(sent_tasks: SentTasks) -> None:
    enqueue("note", {"text": "x"}, on_commit=False)
    sent_tasks.assert_sent("note", {"text": "x"})


def test_the_plugin_loads_nothing_that_a_test_run_without_django_would_pay_for() -> None:
    code = (
        "import sys, pytest; before = set(sys.modules); import multiworker.django.pytest_plugin;"
        "print(*sorted({name.partition('.')[0] for name in set(sys.modules) - before}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["multiworker"]


def test_what_a_handler_gets_has_been_through_json(sent_tasks: SentTasks) -> None:
    enqueue("note", {"text": ("a", 1)}, on_commit=False)
    data: Any = sent_tasks[0].data
    assert data == {"text": ["a", 1]}
