"""Tasks of django.tasks in real children: what is promised of them, also when processes and Redis go away."""

import json
import shutil
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.utils import timezone

from multiworker.django.compat import TaskResultStatus, task_backends
from multiworker.django.compat import task as declared
from multiworker.worker.errors import DeadLettered, HandlerTimeout, Reject
from tests.django.project.app import tasks
from tests.fix_redis import RedisServer
from tests.proxy import Loss, Plan, Proxy, Rule
from tests.system.fix_system import Engine, multiworker, until

SETTINGS = ("--settings", "tests.django.project.settings")
APP = "tests.django.project.app.tasks"
GOOD, BAD = TaskResultStatus.SUCCESSFUL, TaskResultStatus.FAILED


@declared
def unknown_to_workers() -> None:
    """No app of the project has it."""


@pytest.fixture
def site(engine: Engine, project: str, database: Path) -> Engine:
    """An engine that knows the project, not started yet."""
    engine.environment |= {"PROJECT_REDIS": project, "PROJECT_DATABASE": str(database)}
    return engine


@pytest.fixture
def proxy(redis_server: RedisServer, project: str) -> Iterator[Proxy]:
    """Stands between the children and Redis."""
    directory = Path(tempfile.mkdtemp(prefix="mw-"))
    proxy = Proxy(redis_server.socket, directory)
    yield proxy
    proxy.close()
    shutil.rmtree(directory)


def serve(engine: Engine, *options: str, procs: int = 2) -> None:
    """Start children that have the project's tasks and nothing else."""
    engine.start(*options, procs=procs, program=[*multiworker(), "start", *SETTINGS])


@pytest.fixture
def children(site: Engine) -> Engine:
    serve(site)
    return site


def finished(result: Any, engine: Engine) -> Any:
    """Wait until a task has ended, and return its result."""

    def look() -> Any:
        result.refresh()
        return result.is_finished and result

    return until(look, f"the end of {result}", engine.text)


def running(result: Any, engine: Engine) -> Any:
    """Wait until a task runs."""

    def look() -> Any:
        result.refresh()
        return result.status == TaskResultStatus.RUNNING and result

    return until(look, f"the start of {result}", engine.text)


def outcome(result: Any, engine: Engine) -> Any:
    finished(result, engine)
    return result.return_value if result.status == GOOD else [error.exception_class for error in result.errors]


def gone(engine: Engine) -> None:
    """Wait until nothing is left in Redis, and see that the books add up."""
    until(lambda: not engine.left_in_redis(), "the end of all tasks", engine.text)
    assert engine.stop() == 0


# What goes in and comes out


def test_values_of_every_kind_come_through(children: Engine) -> None:
    values: list[Any] = [None, True, 0, -1.5, "é\n\x00", [], {}, [[1], {"a": None}], 2**53, "x" * 100_000]
    for value in values:
        for enqueue in (tasks.echo.enqueue, async_to_sync(tasks.echo.aenqueue)):
            assert outcome(enqueue(value, key=value), children) == [[value], {"key": value}]
    assert outcome(tasks.odd_value.enqueue("tuple"), children) == [1, 2]


@pytest.mark.parametrize(("kind", "error"), [("function", TypeError), ("nan", ValueError), ("large", ValueError)])
def test_a_value_that_cannot_be_kept_fails_the_task_for_good(children: Engine, kind: str, error: type) -> None:
    result = tasks.odd_value.enqueue(kind)
    assert outcome(result, children) == [error]
    assert (result.status, result.attempts) == (BAD, 1)
    assert "return value" in result.errors[0].traceback


def test_wrong_arguments_are_an_error_of_the_task(children: Engine) -> None:
    assert outcome(tasks.fail_once.enqueue(1, 2, 3), children) == [TypeError]


def test_a_task_knows_its_id_and_its_attempt(children: Engine) -> None:
    for task in (tasks.current, tasks.acurrent):
        result = task.enqueue()
        assert outcome(result, children) == [result.id, task.module_path, 1, "async_tasks"]


def test_a_context_has_the_result_and_the_attempt(children: Engine) -> None:
    result = tasks.third_time.enqueue()
    assert outcome(result, children) == {"attempt": 3, "id": result.id, "errors": 2}
    assert (result.attempts, len(result.worker_ids), len(result.errors)) == (3, 3, 2)
    assert result.started_at < result.last_attempted_at <= result.finished_at
    result = tasks.acontext.enqueue(wanted="id")
    assert outcome(result, children) == result.id
    assert outcome(tasks.acontext.enqueue(wanted="status"), children) == "RUNNING"
    assert outcome(tasks.acontext.enqueue(wanted="args"), children) == {"wanted": "args"}


def test_a_task_may_stand_in_a_class(children: Engine) -> None:
    assert outcome(tasks.Nested.inner.enqueue(), children) == "inner"


# Failures


@pytest.mark.parametrize("task", [tasks.fail_briskly, tasks.afail_briskly])
def test_a_failing_task_is_tried_as_often_as_the_options_say_and_each_error_is_kept(
    children: Engine, task: Any
) -> None:
    result = finished(task.enqueue("no"), children)
    assert (result.status, result.attempts) == (BAD, 3)
    assert [error.exception_class for error in result.errors] == [ValueError] * 3
    assert [error.traceback.splitlines()[-1] for error in result.errors] == [f"ValueError: no {n}" for n in (1, 2, 3)]
    assert "in fail_briskly\n" in result.errors[0].traceback or "in afail_briskly\n" in result.errors[0].traceback
    with pytest.raises(ValueError, match="Task failed"):
        _ = result.return_value
    (letter,) = until(children.dead_letters, "the dead letter", children.text)
    assert (letter["reason"], letter["attempt"]) == ("attempts exhausted", "3")
    gone(children)


def test_a_rejected_task_fails_at_once(children: Engine) -> None:
    result = tasks.give_up.enqueue()
    assert outcome(result, children) == [Reject]
    assert (result.status, result.attempts) == (BAD, 1)


def test_a_failed_task_waits_and_runs_again_once_it_is_requeued(children: Engine) -> None:
    result = finished(tasks.fail_once.enqueue(), children)
    until(children.dead_letters, "the dead letter", children.text)
    answer = children.call("dead", "requeue", "--all", "--redis", children.environment["PROJECT_REDIS"])
    assert answer.code == 0, answer

    def look() -> Any:
        result.refresh()
        return result.is_finished and len(result.errors) == 2

    until(look, "the second end", children.text)
    assert (result.status, result.attempts) == (BAD, 2)


# When and where


def test_a_deferred_task_does_not_run_before_its_time(children: Engine) -> None:
    due = timezone.now() + timedelta(seconds=1.5)
    results = [task.using(run_after=due, priority=priority).enqueue(1, 2) for task in (tasks.add, tasks.aadd)
               for priority in (0, 5)]  # fmt: skip
    for result in results:
        assert (outcome(result, children), result.task.run_after) == (3, due)
        assert result.started_at >= due - timedelta(milliseconds=2)


def test_priorities_are_honoured_exactly(site: Engine) -> None:
    serve(site, "--concurrency", "1", procs=1)
    path, gate = site.directory / "order", site.directory / "gate"
    first = running(tasks.hold.enqueue(str(gate)), site)
    wanted = [(priority, n) for n, priority in enumerate([0, 5, -100, 100, 5, 0, -1, 1, 100, -100, -1])]
    results = [tasks.append.using(priority=priority).enqueue(str(path), f"{priority} {n}") for priority, n in wanted]
    gate.touch()
    for result in (first, *results):
        assert finished(result, site).status == GOOD
    found = [tuple(map(int, line.split())) for line in path.read_text().splitlines()]
    assert found == sorted(wanted, key=lambda one: (-one[0], one[1]))


def test_every_backend_and_queue_of_the_project_is_served(children: Engine) -> None:
    for backend, queue in (("default", "slow"), ("mapped", "default"), ("mapped", "mail"), ("brisk", "default")):
        result = tasks.add.using(backend=backend, queue_name=queue).enqueue(1, 2)
        assert outcome(result, children) == 3
        assert (result.task.backend, result.task.queue_name) == (backend, queue)


def test_a_result_expires_from_its_end_on(children: Engine) -> None:
    result = finished(tasks.add.enqueue(1, 2), children)
    assert 86_300_000 < children.client.pttl(f"{{async_tasks}}:result:{result.id}") <= 86_400_000
    assert children.client.zrange("{async_tasks}:results", 0, -1) == [result.id]


def test_signals_are_heard_in_the_worker(children: Engine) -> None:
    path = children.directory / "heard"
    for task, end in ((tasks.heard, "SUCCESSFUL 1 0"), (tasks.heard_failing, "FAILED 1 1")):
        finished(task.enqueue(str(path)), children)
        lines = until(lambda: path.exists() and path.read_text().splitlines()[1:] and path.read_text(), "both signals")
        assert lines == f"started TaskBackend RUNNING 1 0\nfinished TaskBackend {end}\n"
        path.unlink()
    assert "a receiver's trouble" in children.text()


# Hostile payloads


def test_what_names_no_task_is_a_dead_letter_and_never_runs(children: Engine) -> None:
    mark = children.directory / "mark"
    names = ["os.system", f"{APP}.not_a_task", f"{APP}.add.func", f"{APP}.Path", f"{APP}.gone", "no.such.module.task",
             f"{APP}.add.__class__", "subprocess.run", "builtins.eval", f"{APP}.Nested"]  # fmt: skip
    for name in names:
        command = f"touch {mark}" if name != f"{APP}.not_a_task" else str(mark)
        data = {"args": [command], "kwargs": {}}
        children.client.lpush("async_tasks", json.dumps({"id": name, "type": name, "data": data}))
    letters = until(lambda: children.dead_letters()[len(names) - 1 :] and children.dead_letters(), "dead letters")
    assert {letter["reason"] for letter in letters} == {"no handler"}
    assert outcome(tasks.add.enqueue(1, 2), children) == 3
    assert not mark.exists()


def test_a_catch_all_does_not_get_the_tasks_that_no_worker_knows(site: Engine) -> None:
    site.start(*SETTINGS)
    site.client.lpush(
        "async_tasks",
        json.dumps(
            {
                "type": "gone.task",
                "data": {
                    "args": [],
                    "kwargs": {},
                },
            }
        ),
    )
    (letter,) = until(site.dead_letters, "the dead letter", site.text)
    assert letter["reason"] == "no handler"
    assert site.ledger() == []


@pytest.mark.parametrize("data", [5, "text", [1], {"args": 5}, {"kwargs": []}, {"args": [], "more": 1}, {"x": 1}])
def test_data_that_holds_no_arguments_never_reaches_the_task(children: Engine, data: Any) -> None:
    children.client.lpush("async_tasks", json.dumps({"id": "t", "type": f"{APP}.echo", "data": data}))
    (letter,) = until(children.dead_letters, "the dead letter", children.text)
    assert letter["reason"] == "rejected"


def test_others_may_push_a_task_that_wants_no_result(children: Engine) -> None:
    path = children.directory / "file"
    for data in ({"args": [str(path), "a"], "kwargs": {}}, {"kwargs": {"path": str(path), "text": "b"}}):
        children.client.lpush("async_tasks", json.dumps({"type": f"{APP}.append", "data": data}))
    until(lambda: path.exists() and len(path.read_text()) == 4, "both lines", children.text)
    gone(children)
    assert children.client.keys("*:result:*") == []


# What is promised


def test_an_end_is_on_record_before_the_task_is_acknowledged(site: Engine, proxy: Proxy) -> None:
    # given a task that runs, and a Redis to which no record gets through
    site.environment["PROJECT_REDIS"] = proxy.url
    serve(site, procs=1)
    gate = site.directory / "gate"
    results = [running(task.enqueue(str(gate)), site) for task in (tasks.hold, tasks.ahold)]
    proxy.add(Rule(Loss.REQUEST, "record"))
    # when it ends
    gate.touch()
    until(lambda: proxy.did(Loss.REQUEST, "record") > 3, "attempts to record", site.text)
    # then it is still held, and once records get through, they are there
    assert site.left_in_redis() == {"in flight": 2}
    proxy.follow(Plan())
    for result in results:
        assert (finished(result, site).status, result.attempts) == (GOOD, 1)
    gone(site)


def test_a_task_whose_success_is_on_record_does_not_run_again(site: Engine, proxy: Proxy) -> None:
    # given tasks that have ended, of which Redis has the record but not the acknowledgement
    site.environment["PROJECT_REDIS"] = proxy.url
    serve(site, procs=1)
    (child,) = site.ready()
    gate = site.directory / "gate"
    path = site.directory / "file"
    good, bad = tasks.hold.enqueue(str(gate)), tasks.fail_late.enqueue(str(gate), str(path))
    for result in (good, bad):
        running(result, site)
    proxy.add(Rule(Loss.REQUEST, "step"))
    gate.touch()
    for result in (good, bad):
        finished(result, site)
    assert site.left_in_redis() == {"in flight": 2}
    # when their process is killed, and another one gets them
    site.kill(child)
    proxy.follow(Plan())
    gone(site)
    # then neither has run again
    good.refresh()
    bad.refresh()
    assert (good.status, good.attempts, good.return_value) == (GOOD, 1, child)
    assert (bad.status, bad.attempts, path.read_text()) == (BAD, 1, "late\n")
    (letter,) = site.dead_letters()
    assert letter["reason"] == "attempts exhausted"


def test_all_results_are_right_after_a_child_was_killed_while_tasks_ran(children: Engine) -> None:
    gate = children.directory / "gate"
    results = [task.enqueue(str(gate)) for task in (tasks.hold, tasks.ahold) for _ in range(4)]
    for result in results:
        running(result, children)
    victim, _ = children.ready()
    before = {result.id: list(result.worker_ids) for result in results}
    children.kill(victim)
    gate.touch()
    for result in results:
        assert finished(result, children).status == GOOD
        assert result.errors == []
        assert result.return_value != victim
        assert result.worker_ids[:1] == before[result.id]
    again = [result for result in results if result.attempts == 2]
    assert 0 < len(again) < len(results) or len(again) in {0, 8}
    gone(children)


def test_what_a_drain_cuts_short_waits_and_runs_again(site: Engine) -> None:
    serve(site, "--grace", "0.3", procs=1)
    gate = site.directory / "gate"
    results = [running(task.enqueue(str(gate)), site) for task in (tasks.hold, tasks.ahold)]
    site.stop()
    for result in results:
        result.refresh()
        assert (result.status, result.attempts, result.errors) == (TaskResultStatus.READY, 1, [])
    gate.touch()
    serve(site, procs=1)
    for result in results:
        assert (finished(result, site).status, result.attempts) == (GOOD, 2)
    gone(site)


@pytest.mark.parametrize("task", [tasks.hold_briefly, tasks.ahold_briefly])
def test_a_task_that_takes_too_long_fails_and_what_it_does_later_changes_nothing(children: Engine, task: Any) -> None:
    gate = children.directory / "gate"
    result = finished(task.enqueue(str(gate)), children)
    assert (result.status, result.attempts) == (BAD, 1)
    assert result.errors[0].exception_class is HandlerTimeout
    gate.touch()
    assert outcome(tasks.add.enqueue(1, 2), children) == 3
    gone(children)
    result.refresh()
    assert (result.status, len(result.errors)) == (BAD, 1)


def test_a_task_that_its_worker_does_not_know_has_failed(children: Engine) -> None:
    result = finished(unknown_to_workers.enqueue(), children)
    assert (result.status, result.attempts) == (BAD, 0)
    assert [error.exception_class for error in result.errors] == [DeadLettered]
    assert result.errors[0].traceback.startswith("no handler: ")


def test_a_task_that_kills_its_process_fails_in_the_end(children: Engine) -> None:
    result = finished(tasks.die.enqueue(), children)
    assert (result.status, result.attempts) == (BAD, 5)
    assert result.errors[-1].traceback.startswith("crashed: ")
    assert task_backends["default"].get_result(result.id).status == BAD
