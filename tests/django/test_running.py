"""Task objects in real children of `multiworker start`: what comes of them, and what their results say."""

from pathlib import Path
from typing import Any

import pytest

from multiworker.django.compat import TaskResultStatus
from multiworker.worker.errors import HandlerTimeout
from tests.django.project.app import tasks
from tests.django.project.app.models import Note
from tests.system.fix_system import Engine, until

SETTINGS = ("--settings", "tests.django.project.settings")


@pytest.fixture
def children(engine: Engine, project: str, database: Path) -> Engine:
    """An engine that serves the project, with two children."""
    engine.environment |= {"PROJECT_REDIS": project, "PROJECT_DATABASE": str(database)}
    engine.start(*SETTINGS)
    return engine


def finished(result: Any, engine: Engine) -> Any:
    """Wait until a task has ended, and return its result."""

    def look() -> Any:
        result.refresh()
        return result.is_finished and result

    return until(look, f"the end of {result}", engine.text)


def test_it_runs_and_its_result_tells_the_whole_story(children: Engine) -> None:
    for task, value in ((tasks.add, 5), (tasks.aadd, 5)):
        result = finished(task.enqueue(2, b=3), children)
        assert result.status == TaskResultStatus.SUCCESSFUL
        assert result.return_value == value
        assert result.task == task
        assert (result.args, result.kwargs) == ([2], {"b": 3})
        assert result.enqueued_at <= result.started_at == result.last_attempted_at <= result.finished_at
        assert result.attempts == 1
        assert result.errors == []
        assert len(result.worker_ids[0]) > 20


def test_it_may_use_the_database(children: Engine) -> None:
    results = [task.enqueue("key", text="text") for task in (tasks.note, tasks.anote)]
    found = {finished(result, children).return_value for result in results}
    assert found == {note.pk for note in Note.objects.filter(key="key", text="text")}


def test_it_fails_with_the_class_and_the_traceback_of_what_it_raised(children: Engine) -> None:
    for task, kind, text in (
        (tasks.fail_once, ValueError, "ValueError: as told\n"),
        (tasks.afail_once, ValueError, "ValueError: as told\n"),
        (tasks.leave, SystemExit, "SystemExit: leaving\n"),
        (tasks.sleep_long, HandlerTimeout, ""),
    ):
        result = finished(task.enqueue(), children)
        assert result.status == TaskResultStatus.FAILED
        assert [error.exception_class for error in result.errors] == [kind]
        assert result.errors[0].traceback.endswith(text)
        with pytest.raises(ValueError, match="Task failed"):
            _ = result.return_value
