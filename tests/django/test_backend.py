"""What a backend of django.tasks does in the process that sends: it checks, sends, and finds results again."""

import asyncio
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from asgiref.sync import async_to_sync
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.test import override_settings
from django.utils import timezone

from multiworker import EncodeError, RedisUnavailable
from multiworker.django import TaskBackend, queues
from multiworker.django.compat import (
    InvalidTask,
    TaskResultDoesNotExist,
    TaskResultMismatch,
    TaskResultStatus,
    task,
    task_backends,
    task_enqueued,
)
from multiworker.worker.message import parse_frame
from tests.django.project.app import tasks
from tests.fix_redis import RedisServer

pytestmark = pytest.mark.usefixtures("project")

NAME = "multiworker.django.TaskBackend"
Enqueue = Callable[..., Any]


def sent(client: "redis.Redis", queue: str = "async_tasks") -> list[dict[str, Any]]:
    """What lies in a list, in the order in which it is taken."""
    return [json.loads(payload) for payload in reversed(client.lrange(queue, 0, -1)) if payload]


def placed(client: "redis.Redis", key: str) -> list[tuple[bytes, float]]:
    """Frames of a sorted set, with their places."""
    found: Any = client.zrange(key, 0, -1, withscores=True)
    return [(frame, place) for frame, place in found]


def now(task: Any, *args: Any, **kwargs: Any) -> Any:
    return task.enqueue(*args, **kwargs)


def from_a_loop(task: Any, *args: Any, **kwargs: Any) -> Any:
    return async_to_sync(task.aenqueue)(*args, **kwargs)


@pytest.fixture(params=[now, from_a_loop])
def enqueue(request: pytest.FixtureRequest) -> Enqueue:
    """Both ways of sending."""
    way: Enqueue = request.param
    return way


@pytest.fixture
def announced() -> Iterator[list[Any]]:
    """The results that task_enqueued has told of."""
    found: list[Any] = []

    def receive(sender: type, task_result: Any, **_: Any) -> None:
        assert sender is TaskBackend
        found.append(task_result)

    task_enqueued.connect(receive)
    yield found
    task_enqueued.disconnect(receive)


# What it can do


def test_it_can_do_all_that_a_backend_may() -> None:
    backend = task_backends["default"]
    assert isinstance(backend, TaskBackend)
    assert (backend.supports_defer, backend.supports_async_task) == (True, True)
    assert (backend.supports_get_result, backend.supports_priority) == (True, True)


def test_an_enqueued_task_is_ready_and_lies_in_redis(enqueue: Enqueue, redis_client: "redis.Redis") -> None:
    before = timezone.now() - timedelta(seconds=1)
    result = enqueue(tasks.add, 1, b=2)
    assert (result.status, result.task, result.backend) == (TaskResultStatus.READY, tasks.add, "default")
    assert (result.args, result.kwargs) == ([1], {"b": 2})
    assert (result.attempts, result.worker_ids, result.errors, result.is_finished) == (0, [], [], False)
    assert (result.started_at, result.last_attempted_at, result.finished_at) == (None, None, None)
    assert before < result.enqueued_at < before + timedelta(minutes=1)
    data = {"args": [1], "kwargs": {"b": 2}}
    assert sent(redis_client) == [{"id": result.id, "type": "tests.django.project.app.tasks.add", "data": data}]


def test_its_result_is_found_again_by_its_id(enqueue: Enqueue) -> None:
    result = enqueue(tasks.add, 1, b=[2, None, {"x": "é"}])
    for found in (
        tasks.add.get_result(result.id),
        async_to_sync(tasks.add.aget_result)(result.id),
        task_backends["default"].get_result(result.id),
    ):
        assert found == result
        assert found.kwargs == {"b": [2, None, {"x": "é"}]}
    result.refresh()
    async_to_sync(result.arefresh)()
    assert result.status == TaskResultStatus.READY


def test_ids_are_unlike() -> None:
    assert len({tasks.add.enqueue(1, 2).id for _ in range(50)}) == 50


def test_return_value_of_what_has_not_ended_is_an_error() -> None:
    with pytest.raises(ValueError, match="not finished"):
        _ = tasks.add.enqueue(1, 2).return_value


def test_no_result_is_found_by_an_id_that_is_none(redis_client: "redis.Redis") -> None:
    redis_client.set("{async_tasks}:result:string", "x")
    redis_client.hset("{async_tasks}:result:part", "status", "READY")
    for odd in ("none", "", "a b", "*", "\n", "x" * 1000, "a\x00", "\ud800", 5, None, b"none", "string", "part"):
        for backend in ("default", "mapped", "open"):
            if odd == "string":
                with pytest.raises((TaskResultDoesNotExist, RedisUnavailable)):
                    task_backends[backend].get_result(odd)
                continue
            with pytest.raises(TaskResultDoesNotExist):
                task_backends[backend].get_result(odd)
            with pytest.raises(TaskResultDoesNotExist):
                async_to_sync(task_backends[backend].aget_result)(odd)


def test_the_result_of_another_task_is_not_this_ones() -> None:
    result = tasks.add.enqueue(1, 2)
    with pytest.raises(TaskResultMismatch):
        tasks.aadd.get_result(result.id)
    with pytest.raises(TaskResultMismatch):
        async_to_sync(tasks.aadd.aget_result)(result.id)


@pytest.mark.parametrize("path", ["os.system", "tests.django.project.app.tasks.Path", "no.such.module.task", "", "."])
def test_what_a_result_names_is_looked_up_among_tasks_only(redis_client: "redis.Redis", path: str) -> None:
    result = tasks.add.enqueue(1, 2)
    redis_client.hset(f"{{async_tasks}}:result:{result.id}", "path", path)
    with pytest.raises(TaskResultDoesNotExist):
        result.refresh()


def test_an_exception_class_is_looked_up_among_those_imported_only(redis_client: "redis.Redis") -> None:
    result = tasks.add.enqueue(1, 2)
    lines = [["builtins.ValueError", "t"], ["antigravity.Error", "t"], ["os.system", "t"], ["", "t"]]
    text = "\n".join(json.dumps(line) for line in lines)
    redis_client.hset(f"{{async_tasks}}:result:{result.id}", "errors", text + "\n{}\n\xff\n")
    result.refresh()
    assert [error.traceback for error in result.errors] == ["t"] * 4
    assert result.errors[0].exception_class is ValueError
    for error, raised in zip(result.errors[1:], (ImportError, ValueError, ImportError), strict=True):
        with pytest.raises(raised):
            _ = error.exception_class


# Arguments


@pytest.mark.parametrize("value", [object(), {1, 2}, datetime(2020, 1, 1, tzinfo=UTC), tasks.add, lambda: None])
def test_arguments_are_json(enqueue: Enqueue, redis_client: "redis.Redis", value: object) -> None:
    for args, kwargs in (((value,), {}), ((), {"b": value}), (({"deep": [value]},), {})):
        with pytest.raises(TypeError):
            enqueue(tasks.echo, *args, **kwargs)
    assert redis_client.keys("*") == []


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\ud800", "x" * 300_000, b"\xff"])
def test_what_would_not_arrive_is_refused(enqueue: Enqueue, redis_client: "redis.Redis", value: object) -> None:
    with pytest.raises((ValueError, TypeError, EncodeError)):
        enqueue(tasks.echo, value)
    assert redis_client.keys("*") == []


def test_tuples_come_back_as_lists(enqueue: Enqueue) -> None:
    result = enqueue(tasks.echo, (1, (2,)), x={"y": (3,)})
    assert (result.args, result.kwargs) == ([[1, [2]]], {"x": {"y": [3]}})
    assert tasks.echo.get_result(result.id).args == [[1, [2]]]


# Tasks that cannot be


def plain() -> None:
    """No task, yet."""


async def coroutine() -> None:
    """No task, yet."""


def with_context(context: Any) -> None:
    """No task, yet."""


def inner_function() -> Callable[[], None]:
    def inner() -> None:
        """Defined where no worker finds it."""

    return inner


@pytest.mark.parametrize("function", [inner_function(), lambda: None, len, "text", None])
def test_a_task_is_a_function_of_a_module(function: Any) -> None:
    with pytest.raises((InvalidTask, TypeError, AttributeError)):
        task(function).enqueue() if function else task(None)(None)


@pytest.mark.parametrize("priority", [-101, 101, 10**30, 1.5, -0.5])
def test_a_priority_is_a_whole_number_in_range(priority: Any) -> None:
    with pytest.raises(InvalidTask, match="priority must be a whole number"):
        task(priority=priority)(plain)
    with pytest.raises(InvalidTask, match="priority must be a whole number"):
        tasks.add.using(priority=priority)


@pytest.mark.parametrize("priority", [-100, -1, 0, 1, 100])
def test_every_priority_in_range_may_be(enqueue: Enqueue, priority: int) -> None:
    result = enqueue(tasks.add.using(priority=priority), 1, 2)
    assert tasks.add.get_result(result.id).task.priority == priority


def test_a_naive_time_is_refused_where_times_are_aware() -> None:
    with pytest.raises(InvalidTask, match="run_after must be an aware datetime"):
        tasks.add.using(run_after=datetime(2030, 1, 1))


def test_a_naive_time_is_the_projects_own_where_times_are_naive(redis_client: "redis.Redis") -> None:
    with override_settings(USE_TZ=False, TIME_ZONE="Asia/Tokyo"):
        soon = timezone.make_naive(timezone.now().astimezone(UTC)) + timedelta(hours=1)
        result = tasks.add.using(run_after=soon).enqueue(1, 2)
        assert timezone.is_naive(result.enqueued_at)
        assert tasks.add.get_result(result.id).task.run_after == soon
        assert (
            timedelta(0) <= timezone.make_naive(timezone.now().astimezone(UTC)) - result.enqueued_at < timedelta(0, 60)
        )
    ((_, due),) = placed(redis_client, "{async_tasks}:scheduled")
    assert due / 1000 == pytest.approx(timezone.make_aware(soon, timezone.get_fixed_timezone(540)).timestamp(), abs=30)


def test_a_queue_that_the_backend_has_not_is_refused() -> None:
    with pytest.raises(InvalidTask, match="Queue 'mail' is not valid for backend"):
        tasks.add.using(queue_name="mail")
    assert tasks.add.using(queue_name="slow").queue_name == "slow"


def test_without_queues_any_is_accepted_and_its_results_are_found(
    enqueue: Enqueue, redis_client: "redis.Redis"
) -> None:
    result = enqueue(tasks.add.using(backend="open", queue_name="any:queue"), 1, 2)
    assert [one["id"] for one in sent(redis_client, "any:queue")] == [result.id]
    result.refresh()
    assert task_backends["open"].get_result(result.id).task.queue_name == "any:queue"
    assert redis_client.pttl(f"multiworker:result:{result.id}") > 0


@pytest.mark.parametrize("given", [{"max_attempts": 0}, {"max_attempts": 1.5}, {"max_attempts": "3"}, {"timeout": 0},
                                   {"timeout": -1}, {"timeout": float("nan")}, {"timeout": "5"}])  # fmt: skip
def test_attempts_and_a_timeout_that_cannot_be_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(InvalidTask, match=f"^{next(iter(given))} is a .*number"):
        task(**given)(plain)


def test_attempts_and_a_timeout_of_its_own() -> None:
    made: Any = task(max_attempts=3, timeout=0.5)(plain)
    assert (made.max_attempts, made.timeout, made.using(priority=3).timeout) == (3, 0.5, 0.5)


def test_a_context_is_the_first_argument() -> None:
    for function in (plain, coroutine):
        with pytest.raises(InvalidTask, match="context"):
            task(takes_context=True)(function)
    task(takes_context=True)(with_context)


def test_a_task_that_its_path_does_not_name_is_refused(enqueue: Enqueue, redis_client: "redis.Redis") -> None:
    with pytest.raises(InvalidTask, match=r"test_backend\.plain names, or no worker finds it"):
        enqueue(task(plain))
    assert redis_client.keys("*") == []


def test_using_makes_another_task_and_leaves_this_one(redis_client: "redis.Redis") -> None:
    due = timezone.now() + timedelta(hours=1)
    other = tasks.add.using(priority=5, queue_name="slow", run_after=due)
    assert (tasks.add.priority, tasks.add.queue_name, tasks.add.run_after) == (0, "default", None)
    result = other.enqueue(1, 2)
    found = tasks.add.get_result(result.id)
    assert found.task == other == replace(tasks.add, priority=5, queue_name="slow", run_after=due)
    ((_, score),) = placed(redis_client, "{slow}:deferred")
    assert score / 1000 == pytest.approx(due.timestamp(), abs=30)


@pytest.mark.parametrize("due", [datetime(2000, 1, 1, tzinfo=UTC), None])
def test_what_is_due_already_is_not_put_off(redis_client: "redis.Redis", due: datetime | None) -> None:
    tasks.add.using(run_after=due).enqueue(1, 2)
    assert len(sent(redis_client)) == 1


def test_what_is_due_in_a_hundred_years_is_refused(enqueue: Enqueue) -> None:
    with pytest.raises(ValueError, match="delay"):
        enqueue(tasks.add.using(run_after=timezone.now() + timedelta(days=36500)), 1, 2)


# Where tasks go


def test_queues_are_lists_by_rule_or_by_option(redis_client: "redis.Redis") -> None:
    for backend, queue, list_ in (
        ("default", "default", "async_tasks"),
        ("default", "slow", "slow"),
        ("mapped", "default", "mapped_tasks"),
        ("mapped", "mail", "mail"),
    ):
        result = tasks.add.using(backend=backend, queue_name=queue).enqueue(1, 2)
        assert [one["id"] for one in sent(redis_client, list_)] == [result.id]
        assert task_backends[backend].get_result(result.id).id == result.id
    assert queues.backend_lists() == ["async_tasks", "slow", "mapped_tasks", "mail"]
    assert [alias for alias, _ in queues._ours()] == ["default", "mapped", "brisk", "open"]


def test_a_priority_goes_with_the_task(redis_client: "redis.Redis") -> None:
    ids = [tasks.add.using(priority=priority).enqueue(1, 2).id for priority in (-5, 0, 50, 5)]
    frames = [parse_frame(frame) for frame, _ in placed(redis_client, "{async_tasks}:priority")]
    assert [json.loads(frame.payload)["id"] for frame in frames] == [ids[2], ids[3], ids[0]]


def test_a_result_is_kept_as_long_as_the_options_say(redis_client: "redis.Redis") -> None:
    backend = TaskBackend("default", {"OPTIONS": {"RESULT_TTL": timedelta(hours=2), "RESULT_CAP": 7}})
    result = backend.enqueue(tasks.add, (1, 2), {})
    key = f"{{async_tasks}}:result:{result.id}"
    assert redis_client.hmget(key, "ttl", "cap") == [b"7200000", b"7"]
    assert 7 * 86_400_000 < redis_client.pttl(key) <= 7 * 86_400_000 + 7_200_000


# Transactions


@pytest.mark.usefixtures("database")
def test_a_task_is_sent_and_announced_once_the_transaction_is_committed(
    enqueue: Enqueue, redis_client: "redis.Redis", announced: list[Any]
) -> None:
    with transaction.atomic():
        result = enqueue(tasks.add, 1, 2)
        assert (result.status, result.enqueued_at) == (TaskResultStatus.READY, None)
        assert redis_client.keys("*") == []
        assert announced == []
        with pytest.raises(TaskResultDoesNotExist):
            result.refresh()
    assert [one["id"] for one in sent(redis_client)] == [result.id]
    assert announced == [result]
    assert result.enqueued_at
    result.refresh()


@pytest.mark.usefixtures("database")
def test_a_task_of_a_transaction_that_is_rolled_back_is_never_sent(
    enqueue: Enqueue, redis_client: "redis.Redis", announced: list[Any]
) -> None:
    with transaction.atomic():
        enqueue(tasks.add, 1, 2)
        transaction.set_rollback(True)
    assert redis_client.keys("*") == []
    assert announced == []


@pytest.mark.usefixtures("database")
def test_an_option_sends_at_once(redis_client: "redis.Redis") -> None:
    backend = TaskBackend("default", {"OPTIONS": {"ON_COMMIT": False}})
    with transaction.atomic():
        backend.enqueue(tasks.add, (1, 2), {})
        async_to_sync(backend.aenqueue)(tasks.add, (1, 2), {})
        assert len(sent(redis_client)) == 2


def test_it_is_announced_when_it_is_sent(enqueue: Enqueue, announced: list[Any]) -> None:
    assert announced == [enqueue(tasks.add, 1, 2)]


def test_without_redis_the_caller_is_told(private_redis: RedisServer, announced: list[Any]) -> None:
    private_redis.stop()
    with override_settings(MULTIWORKER={"REDIS": private_redis.url}):
        with pytest.raises(RedisUnavailable):
            tasks.add.enqueue(1, 2)
        with pytest.raises(RedisUnavailable):
            async_to_sync(tasks.add.aenqueue)(1, 2)
    assert announced == []


def test_many_may_be_sent_from_one_loop(redis_client: "redis.Redis") -> None:
    async def main() -> set[str]:
        return {result.id for result in await asyncio.gather(*[tasks.add.aenqueue(n, 1) for n in range(100)])}

    ids = async_to_sync(main)()
    assert {one["id"] for one in sent(redis_client)} == ids


# Settings


WRONG: list[tuple[Any, str, str]] = [
    ([], "E101", "is a dict, not list"),
    ({"RESULT_TLL": 5}, "E102", "has no key 'RESULT_TLL'"),
    ({"RESULT_TTL": 0}, "E103", '"RESULT_TTL"]: not 0'),
    ({"RESULT_TTL": True}, "E103", "not True"),
    ({"RESULT_CAP": 0}, "E103", "not 0"),
    ({"RESULT_CAP": 1e9}, "E103", "not 1000000000.0"),
    ({"MAX_ATTEMPTS": 0}, "E103", "not 0"),
    ({"TIMEOUT": -1}, "E103", "not -1"),
    ({"BACKOFF": "5"}, "E103", "not '5'"),
    ({"ON_COMMIT": "yes"}, "E103", "not 'yes'"),
    ({"DATABASE": "none"}, "E103", "DATABASES has no 'none'"),
    ({"LISTS": {"default": 5}}, "E103", "not {"),
    ({"LISTS": {"default": ""}}, "E103", "LISTS"),
]


@pytest.mark.parametrize(("options", "number", "text"), WRONG)
def test_a_wrong_option_is_an_error_of_the_checks_and_of_every_use(options: Any, number: str, text: str) -> None:
    with override_settings(TASKS={"default": {"BACKEND": NAME, "OPTIONS": options}}):
        (found,) = [one for one in run_checks() if str(one.id).startswith("multiworker.E1")]
        assert found.id == f"multiworker.{number}"
        assert text in found.msg
        assert 'TASKS["default"]["OPTIONS"]' in found.msg
        with pytest.raises(ImproperlyConfigured, match=r'^TASKS\["default"\]'):
            tasks.add.enqueue(1, 2)


@pytest.mark.parametrize(
    ("given", "number"), [("default", "E104"), ([5], "E104"), (["x" * 2000], "E105"), ([""], "E105")]
)
def test_wrong_queues_are_errors_of_the_checks(given: Any, number: str) -> None:
    backend = TaskBackend("default", {"QUEUES": given})
    assert [one.id for one in backend.check()] == [f"multiworker.{number}"]


def test_right_settings_pass_the_checks() -> None:
    assert [one for one in run_checks() if str(one.id).startswith("multiworker")] == []


# Eager projects


def test_an_eager_project_runs_tasks_where_they_are_sent(enqueue: Enqueue, redis_client: "redis.Redis") -> None:
    with override_settings(MULTIWORKER={"EAGER": True}):
        good, bad = enqueue(tasks.add, 1, 2), enqueue(tasks.fail)
        assert (good.status, good.return_value, good.attempts) == (TaskResultStatus.SUCCESSFUL, 3, 1)
        assert (bad.status, bad.errors[0].exception_class) == (TaskResultStatus.FAILED, ValueError)
        assert tasks.add.get_result(good.id).return_value == 3
        assert enqueue(tasks.aadd, 1, 2).return_value == 3
        assert enqueue(tasks.acontext, wanted="status").return_value == "RUNNING"
    assert redis_client.keys("*") == []


def test_times_are_those_of_the_project(tmp_path: Path) -> None:
    result = tasks.add.enqueue(1, 2)
    assert timezone.is_aware(result.enqueued_at)
    assert tasks.add.get_result(result.id).enqueued_at.utcoffset() == timedelta(0)
