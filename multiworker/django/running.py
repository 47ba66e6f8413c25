"""Running Task objects in a child: arguments in, result and signals out."""

import inspect
import json
import logging
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, NamedTuple

from multiworker.django import compat
from multiworker.django.connections import careful
from multiworker.django.stored import TaskError, arguments, change, is_id, moment, path_of, result_of
from multiworker.worker.errors import Reason, Reject
from multiworker.worker.executor import Run, format_traceback
from multiworker.worker.message import parse_frame
from multiworker.worker.outcome import DONE, Dead, Outcome, RetryIn
from multiworker.worker.results import MAX_VALUE, Begun, Records, Status, Stored

log = logging.getLogger("multiworker.worker")

_RESULT: ContextVar[Any] = ContextVar("multiworker.django.result")
"""The TaskResult of the task that runs; for its TaskContext."""


class UnfitValue(Reject):
    """A task returned what cannot be kept; it is not run again for that."""


class Returned(NamedTuple):
    """What a task returned.

    Args:
        value: as it comes out of JSON.
        text: the JSON.
    """

    value: Any
    text: bytes


class Seen(NamedTuple):
    """What is kept of a run.

    Args:
        result: its TaskResult.
        recorded: it lies in Redis.
    """

    result: Any
    recorded: bool


def returned(value: Any) -> Returned:
    """Bring what a task returned into JSON.

    Raises:
        UnfitValue: it has no form there, or is too large.
    """
    try:
        normal = compat.normalize_json(value)
        text = json.dumps(normal, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise UnfitValue(f"its return value has no form in JSON: {error}") from error
    if len(text) > MAX_VALUE:
        large = ValueError(f"{len(text)} bytes; {MAX_VALUE} are kept")
        raise UnfitValue(f"its return value is too large: {large}") from large
    return Returned(normal, text)


def function_of(task: Any) -> Callable[[Any], Any]:
    """Return what a handler calls with the whole task.

    Args:
        task: the Task object.
    """

    def called(payload: dict[str, Any]) -> Any:
        found = arguments(payload.get("data"))
        if found is None:
            raise Reject("data of a task is an object of args (an array) and kwargs (an object)")
        context = [compat.TaskContext(task_result=_RESULT.get())] if task.takes_context else []
        return task.func(*context, *found[0], **found[1])

    async def run_async(payload: dict[str, Any]) -> Returned:
        return returned(await called(payload))

    def run_plain(payload: dict[str, Any]) -> Any:
        value = called(payload)
        return _awaited(value) if inspect.iscoroutine(value) else returned(value)

    return run_async if inspect.iscoroutinefunction(task.func) else run_plain


async def _awaited(value: Awaitable[Any]) -> Returned:
    return returned(await value)


class Observer:
    """Keeps the results of one task's runs, and sends its signals.

    Args:
        task: the Task object.
        sender: the class of backend that signals name as their sender.
    """

    def __init__(self, task: Any, sender: type) -> None:
        self._task = task
        self._sender = sender

    async def started(self, run: Run, records: Records) -> Outcome | None:
        """See registry.Observer."""
        task_id, frame = run.payload.get("id"), parse_frame(run.frame)
        begun: Begun | None = None
        if is_id(task_id):
            begun = await records.start(task_id, run.delivery, run.kind, f"{frame.id} {frame.attempt}")
        if begun and begun.ended:
            return self._ended_already(run, begun)
        stored = begun.stored if begun else _unrecorded(run.kind, frame.attempt, records.worker, self._task)
        args, kwargs = arguments(run.payload.get("data")) or ([], {})
        result = result_of(self._task, run.label, stored, args, kwargs, stored.workers)
        _RESULT.set(result)
        run.observed = Seen(result, begun is not None)
        await announce(compat.task_started, self._sender, result)
        return None

    def _ended_already(self, run: Run, begun: Begun) -> Outcome:
        """Settle a run whose end was recorded, and whose process died before it was acknowledged."""
        log.info("task had ended before its process did: it is not run again", extra={"task": {"id": run.label}})
        if begun.ended == "SUCCESSFUL":
            return DONE
        reason = Reason(begun.reason) if begun.reason in list(Reason) else Reason.EXHAUSTED
        path, traceback = begun.stored.errors[-1] if begun.stored.errors else ("", "")
        return Dead(reason, path, traceback)

    async def ended(
        self, run: Run, records: Records, outcome: Outcome, value: Any, error: BaseException | None
    ) -> None:
        """See registry.Observer."""
        if run.observed is None:
            return
        result, recorded = run.observed
        status = _status(outcome)
        failure = failure_of(error) if error and isinstance(outcome, RetryIn | Dead) else None
        if recorded:
            await records.end(
                result.id,
                run.delivery,
                status,
                value=value.text if value else b"",
                delay=outcome.delay if isinstance(outcome, RetryIn) else 0.0,
                reason=outcome.reason if isinstance(outcome, Dead) else "",
                error=failure,
            )
        if failure:
            result.errors.append(TaskError(exception_class_path=failure[0], traceback=failure[1]))
        if status != "READY":
            change(result, status=compat.TaskResultStatus(status), finished_at=moment(datetime.now(UTC)))
            if value:
                change(result, _return_value=value.value)
            await announce(compat.task_finished, self._sender, result)


def _status(outcome: Outcome) -> Status:
    if outcome is DONE:
        return "SUCCESSFUL"
    return "FAILED" if isinstance(outcome, Dead) else "READY"


def failure_of(error: BaseException) -> tuple[str, str]:
    """Return class and traceback of what a task raised; of a value that cannot be kept, why it cannot."""
    cause = error.__cause__ if isinstance(error, UnfitValue) and error.__cause__ else error
    return path_of(type(cause)), format_traceback(error)


def _unrecorded(path: str, attempt: int, worker: str, task: Any) -> Stored:
    """Return the result of a task that wants none, as others push them: its context and signals have one."""
    now = datetime.now(UTC)
    return Stored(
        status="RUNNING",
        path=path,
        backend=task.backend,
        queue=task.queue_name,
        priority=task.priority,
        run_after="",
        enqueued=None,
        started=now,
        last=now,
        finished=None,
        workers=["?"] * (attempt - 1) + [worker],
        errors=[],
        data=b"",
        value=b"",
    )


async def announce(signal: Any, sender: type, result: Any) -> None:
    """Send a signal of a task; what its receivers raise is logged, and changes nothing.

    Plain receivers run in a thread of their own, where they may use the database; async ones on the loop.

    Args:
        signal: task_started or task_finished.
        sender: a class of backend.
        result: the TaskResult.
    """
    if len(signal.receivers) == 1:  # Django's own, which only logs: that costs no thread
        signal.send_robust(sender, task_result=result)
        return

    async def send(_: None) -> None:
        await signal.asend_robust(sender, task_result=result)

    await careful(send)(None)
