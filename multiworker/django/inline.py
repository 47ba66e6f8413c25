"""Running Task objects where they are sent, in an eager project: no Redis, one attempt, a finished result at once."""

import inspect
import threading
from collections import OrderedDict
from datetime import UTC, datetime
from typing import Any

from asgiref.sync import sync_to_async

from multiworker.django import compat
from multiworker.django.eager import Inline, call
from multiworker.django.running import Returned, failure_of, returned
from multiworker.django.stored import TaskError, change, moment
from multiworker.worker.context import CURRENT, Current

WORKER = "inline"
"""Who has run these tasks, in their results."""
MOST_REMEMBERED = 1000
"""Results that a process remembers."""
_remembered: OrderedDict[str, Any] = OrderedDict()
_turn = threading.Lock()


def run(result: Any, sender: type) -> None:
    """Run a task.

    Args:
        result: its TaskResult, which learns how it ended.
        sender: the class of backend that signals name as their sender.

    Raises:
        KeyboardInterrupt: Ctrl-C is for whoever waits here, not for the task.
    """
    _sent(result, sender)
    _begin(result, sender)
    token = CURRENT.set(_known(result))
    try:
        _succeed(result, returned(call(result.task.func, *_context(result), *result.args, **result.kwargs)))
        compat.task_finished.send(sender, task_result=result)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - as a worker would
        _fail(result, error)
        compat.task_finished.send(sender, task_result=result)
    finally:
        CURRENT.reset(token)


async def arun(result: Any, sender: type) -> None:
    """Run a task from a coroutine: an async one on this event loop, a plain one in a thread; see run()."""
    if not inspect.iscoroutinefunction(result.task.func):
        await sync_to_async(run)(result, sender)
        return
    await sync_to_async(_sent)(result, sender)
    await sync_to_async(_begin)(result, sender)
    token = CURRENT.set(_known(result))
    try:
        _succeed(result, returned(await result.task.func(*_context(result), *result.args, **result.kwargs)))
        await compat.task_finished.asend(sender, task_result=result)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - as a worker would
        _fail(result, error)
        await compat.task_finished.asend(sender, task_result=result)
    finally:
        CURRENT.reset(token)


def remembered(result_id: object) -> Any:
    """Return the result of a task that has run here lately; None if there is none."""
    return _remembered.get(result_id) if isinstance(result_id, str) else None


def _known(result: Any) -> Inline:
    task = result.task
    return Inline(Current(result.id, task.module_path, 1, task.queue_name, 1))


def _context(result: Any) -> list[Any]:
    return [compat.TaskContext(task_result=result)] if result.task.takes_context else []


def _sent(result: Any, sender: type) -> None:
    with _turn:
        _remembered[result.id] = result
        while len(_remembered) > MOST_REMEMBERED:
            _remembered.popitem(last=False)
    change(result, enqueued_at=_now())
    compat.task_enqueued.send(sender, task_result=result)


def _begin(result: Any, sender: type) -> None:
    now = _now()
    change(result, status=compat.TaskResultStatus.RUNNING, started_at=now, last_attempted_at=now)
    result.worker_ids.append(WORKER)
    compat.task_started.send(sender, task_result=result)


def _succeed(result: Any, value: Returned) -> None:
    change(result, status=compat.TaskResultStatus.SUCCESSFUL, finished_at=_now(), _return_value=value.value)


def _fail(result: Any, error: BaseException) -> None:
    path, traceback = failure_of(error)
    result.errors.append(TaskError(exception_class_path=path, traceback=traceback))
    change(result, status=compat.TaskResultStatus.FAILED, finished_at=_now(), _return_value=None)


def _now() -> Any:
    return moment(datetime.now(UTC))
