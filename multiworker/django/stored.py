"""Results between Redis and Django: what lies there as a TaskResult. Nothing that stands in a result is imported."""

import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, TypeGuard

from django.conf import settings
from django.utils import timezone

from multiworker.django import compat
from multiworker.worker.results import Stored

_ID = re.compile(r"[A-Za-z0-9._:-]{1,200}")


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskError(compat.TaskError):
    """Why a run of a task failed, with a class that is looked up among the imported ones only."""

    @property
    def exception_class(self) -> type[BaseException]:
        """Return the class of what was raised.

        Raises:
            ImportError: it is in no module that this process has imported.
            ValueError: what is found there is no exception.
        """
        module, _, name = self.exception_class_path.rpartition(".")
        found: Any = sys.modules.get(module)
        if not hasattr(found, "__dict__") or name not in found.__dict__:
            raise ImportError(f"{self.exception_class_path!r} is in no module that this process has imported")
        found = found.__dict__[name]
        if not isinstance(found, type) or not issubclass(found, BaseException):
            raise ValueError(f"{self.exception_class_path!r} is not an exception.")  # noqa: TRY004 - as Django's
        return found


def is_id(text: object) -> TypeGuard[str]:
    """Tell whether a task of this id can have a result."""
    return isinstance(text, str) and bool(_ID.fullmatch(text))


def path_of(error: type[BaseException]) -> str:
    """Return where an exception class stands."""
    return f"{error.__module__}.{error.__qualname__}"


def moment(time: datetime | None) -> datetime | None:
    """Return a time as the project has its times: aware with USE_TZ, else naive in its own zone.

    Args:
        time: aware.
    """
    return time if time is None or settings.USE_TZ else timezone.make_naive(time)


def arguments(task: Any) -> tuple[list[Any], dict[str, Any]] | None:
    """Return the arguments in a task's ``data``; None if it holds none.

    Args:
        task: ``data`` of a payload; anybody may have written it, and may leave out either kind.
    """
    if task is None:
        return [], {}
    args, kwargs = (task.get("args", []), task.get("kwargs", {})) if isinstance(task, dict) else (None, None)
    if not isinstance(args, list) or not isinstance(kwargs, dict) or not task.keys() <= {"args", "kwargs"}:
        return None
    return args, kwargs


def result_of(
    task: Any, task_id: str, stored: Stored, args: Sequence[Any], kwargs: dict[str, Any], worker_ids: list[str]
) -> Any:
    """Return the TaskResult of what is stored.

    Args:
        task: the Task object at its path.
        task_id: the result's.
        stored: as it lies in Redis.
        args: of the call, as its kwargs.
        kwargs: see args.
        worker_ids: who has started it.
    """
    result = compat.TaskResult(
        task=_variant(task, stored),
        id=task_id,
        status=compat.TaskResultStatus(stored.status),
        enqueued_at=moment(stored.enqueued),
        started_at=moment(stored.started),
        last_attempted_at=moment(stored.last),
        finished_at=moment(stored.finished),
        args=args,
        kwargs=kwargs,
        backend=stored.backend,
        errors=[TaskError(exception_class_path=path, traceback=traceback) for path, traceback in stored.errors],
        worker_ids=worker_ids,
    )
    if stored.value:
        change(result, _return_value=json.loads(stored.value))
    return result


def load(task: Any, task_id: str, stored: Stored) -> Any:
    """Return the TaskResult of what is stored, with the arguments from there.

    Args:
        task: the Task object at its path.
        task_id: the result's.
        stored: as it lies in Redis.
    """
    args, kwargs = arguments(json.loads(stored.data)) or ([], {})
    return result_of(task, task_id, stored, args, kwargs, stored.workers)


def change(result: Any, **fields: Any) -> None:
    """Set fields of a result, which is frozen for everybody else."""
    for name, value in fields.items():
        object.__setattr__(result, name, value)


def _variant(task: Any, stored: Stored) -> Any:
    """Return the task as it was when it was sent, using() included."""
    run_after = datetime.fromisoformat(stored.run_after) if stored.run_after else None
    sent = (stored.priority, stored.queue, run_after, stored.backend)
    if sent == (task.priority, task.queue_name, task.run_after, task.backend):
        return task
    try:
        return replace(
            task, priority=stored.priority, queue_name=stored.queue, run_after=run_after, backend=stored.backend
        )
    except Exception:  # noqa: BLE001 - the settings have changed since, and the backend validates what it does not know
        return task
