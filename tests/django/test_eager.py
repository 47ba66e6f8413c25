"""MULTIWORKER["EAGER"]: tasks run where they are sent. The project's Redis is one that is not there."""

import asyncio
from collections.abc import Iterator

import pytest
from asgiref.sync import async_to_sync
from django.conf import settings
from django.db import transaction
from django.test import override_settings

import multiworker
from multiworker import EncodeError, MultiworkerError, Retry
from multiworker.django import aenqueue, enqueue, enqueue_many
from multiworker.django.compat import TaskResultStatus
from tests.django.project.app import tasks
from tests.django.project.app.models import Note

pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture(autouse=True)
def _eager() -> Iterator[None]:
    with override_settings(MULTIWORKER={**settings.MULTIWORKER, "EAGER": True}):
        yield


def keys() -> list[str]:
    return [note.key for note in Note.objects.order_by("pk")]


def test_a_task_has_run_when_the_call_returns_whatever_its_delay() -> None:
    assert enqueue("note", {"text": "x"}, id="mine", delay=1000) == "mine"
    assert len(enqueue_many([("anote", {"text": "y"}), ("note", {"text": "z"})])) == 2
    assert keys() == ["note 1", "anote 1", "note 1"]


def test_it_does_not_wait_for_a_commit_unless_told_to() -> None:
    with transaction.atomic():
        enqueue("note", {"text": "x"})
        assert keys() == ["note 1"]
        enqueue("anote", {"text": "x"}, on_commit=True)
        assert keys() == ["note 1"]
    assert keys() == ["note 1", "anote 1"]


def test_errors_are_the_callers() -> None:
    with pytest.raises(ZeroDivisionError, match="7"):
        enqueue("broken", 7)
    with pytest.raises(MultiworkerError, match="no handler for 'unknown'"):
        enqueue("unknown")
    with pytest.raises(EncodeError):
        enqueue("note", object())


def test_a_task_that_asks_to_run_again_does_so_at_once_as_often_as_it_may() -> None:
    enqueue("picky", {"attempts": 2})
    assert keys() == ["picky 1", "picky 2"]
    with pytest.raises(Retry):
        enqueue("picky", {"attempts": 3})
    assert len(keys()) == 4


def test_outside_of_its_handler_no_task_runs() -> None:
    enqueue("note", {"text": "x"})
    with pytest.raises(LookupError):
        multiworker.current()


def test_coroutines_may_send_them_too() -> None:
    async def work() -> None:
        await aenqueue("anote", {"text": "x"})
        await aenqueue("note", {"text": "x"})

    async_to_sync(work)()
    assert keys() == ["anote 1", "note 1"]


def test_plain_code_on_a_running_loop_may_send_async_ones() -> None:
    async def work() -> None:
        enqueue("aecho", "x", on_commit=False)

    asyncio.run(work())


def test_a_catch_all_takes_the_types_that_have_no_handler() -> None:
    spec = "tests.django.project.app.async_tasks:anything_else"
    with override_settings(MULTIWORKER={**settings.MULTIWORKER, "HANDLER": spec}):
        enqueue("unknown", {"text": "x"})
    assert keys() == ["unknown 1"]


def test_tasks_of_django_keep_their_errors_in_their_results() -> None:
    assert tasks.add.enqueue(1, 2).return_value == 3
    failed = tasks.fail.enqueue("no")
    assert failed.status == TaskResultStatus.FAILED
    assert failed.errors[0].exception_class is ValueError
