"""``multiworker.django.TaskBackend``: what ``TASKS`` names, so that django.tasks run in multiworker's children."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property, partial
from typing import Any, NamedTuple

import msgspec
from asgiref.sync import sync_to_async
from django.core.checks import CheckMessage, Error
from django.core.exceptions import ImproperlyConfigured
from django.utils import timezone

from multiworker.django import compat, conf, handlers, inline, options, sending
from multiworker.django.options import Options
from multiworker.django.problems import Problem
from multiworker.django.stored import change, is_id, load, moment
from multiworker.django.task import Task, find
from multiworker.worker import commands
from multiworker.worker.client import QUEUE
from multiworker.worker.client.encode import Ready, delay_ms, fresh_id
from multiworker.worker.commands import Command, Expected
from multiworker.worker.errors import MAX_DELAY
from multiworker.worker.keys import Keys
from multiworker.worker.results import ENDLESS, Stored, read

_LABEL = "multiworker"


class Parcel(NamedTuple):
    """A task that is checked and may be sent.

    Args:
        result: its TaskResult, which learns when it was sent.
        list: where it goes.
        ready: as it is to lie there.
        data: its arguments, as JSON.
    """

    result: Any
    list: str
    ready: Ready
    data: bytes


class TaskBackend(compat.BaseTaskBackend):
    """Sends tasks to Redis lists, where ``multiworker start`` takes them, and finds their results there.

    Args:
        alias: its name in ``TASKS``.
        params: what stands there.
    """

    task_class = Task
    supports_defer = True
    supports_async_task = True
    supports_get_result = True
    supports_priority = True

    def __init__(self, alias: str, params: dict[str, Any]) -> None:
        super().__init__(alias, params)
        self._given_queues = params.get("QUEUES", [])
        self.settings: Options = options.read(alias, self.options)

    def check(self, **_: object) -> list[CheckMessage]:
        """Return what is wrong with the settings of this backend."""
        return [Error(problem.text, problem.hint, id=f"{_LABEL}.{problem.id}") for problem in self._problems]

    def require_sound(self) -> None:
        """Refuse to work with settings that check() complains of.

        Raises:
            ImproperlyConfigured: one line, the first complaint.
        """
        for problem in self._problems:
            raise ImproperlyConfigured(str(problem))

    @cached_property
    def _problems(self) -> list[Problem]:
        """What is wrong; looked for once, as every task that is sent asks."""
        unmapped = self._given_queues
        if not isinstance(unmapped, str):
            unmapped = [name for name in unmapped if name not in self.settings.lists]
        return [*self.settings.problems, *options.wrong_queues(self.alias, unmapped)]

    def list_of(self, queue_name: str) -> str:
        """Return the list of a queue: ``async_tasks`` for ``default``, one of its own name for others, unless mapped.

        Args:
            queue_name: Django's.
        """
        rule = QUEUE if queue_name == compat.DEFAULT_TASK_QUEUE_NAME else queue_name
        return self.settings.lists.get(queue_name, rule)

    def lists(self) -> list[str]:
        """Return the lists of this backend's queues, that of ``default`` first; with ``QUEUES = []`` those known of."""
        names = sorted(self.queues or {compat.DEFAULT_TASK_QUEUE_NAME, *self.settings.lists})
        names.sort(key=lambda name: name != compat.DEFAULT_TASK_QUEUE_NAME)
        return list(dict.fromkeys(self.list_of(name) for name in names))

    def validate_task(self, task: Any) -> None:
        """Refuse a task that cannot run.

        Raises:
            InvalidTask: for what Django's own backends refuse, and attempts or a timeout that cannot be.
        """
        super().validate_task(task)
        attempts, timeout = getattr(task, "max_attempts", None), getattr(task, "timeout", None)
        if attempts is not None and (not isinstance(attempts, int) or attempts < 1):
            raise compat.InvalidTask(f"max_attempts is a whole number from 1, not {attempts!r}.")
        if timeout is not None and not (isinstance(timeout, int | float) and 0 < timeout <= MAX_DELAY):
            raise compat.InvalidTask(f"timeout is a number of seconds above 0, not {timeout!r}.")

    def enqueue(self, task: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """Send a task once the open transaction is committed, or run it here if the project is eager.

        Args:
            task: the Task object.
            args: JSON values.
            kwargs: JSON values.

        Returns:
            Its TaskResult. It has no ``enqueued_at`` until the task has been sent.

        Raises:
            InvalidTask, ImproperlyConfigured: the task or the backend's settings cannot be.
            TypeError, ValueError, EncodeError: the arguments have no form in JSON, or are too large.
            RedisUnavailable: Redis refused or did not answer; raised by whatever commits, if that is waited for.
        """
        result = self._new_result(task, args, kwargs)
        if self._runs_inline():
            inline.run(result, type(self))
            return result
        parcel = self._parcel(result)
        sending.dispatch([self._outgoing(parcel)], partial(self._send, parcel), **self._when())
        return result

    async def aenqueue(self, task: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """Do as enqueue() does, without blocking the event loop."""
        result = self._new_result(task, args, kwargs)
        if self._runs_inline():
            await inline.arun(result, type(self))
            return result
        parcel = self._parcel(result)
        if await sending.is_direct(**self._when()):
            await self._asend(parcel)
        else:
            dispatch = sync_to_async(sending.dispatch)
            await dispatch([self._outgoing(parcel)], partial(self._send, parcel), **self._when())
        return result

    def get_result(self, result_id: str) -> Any:
        """Return the result of a task, wherever it was sent from.

        Raises:
            TaskResultDoesNotExist: there is none: it has expired, is not sent yet, or its task is unknown here.
            RedisUnavailable: Redis refused or did not answer.
        """
        if found := inline.remembered(result_id):
            return found
        ask = conf.client().ask
        pointed = ask(commands.pointed(result_id)) if self._points and is_id(result_id) else None
        for name in self._places(result_id, pointed):
            if stored := read(ask(commands.result(Keys(name), result_id))):
                return self._load(result_id, stored)
        raise compat.TaskResultDoesNotExist(result_id)

    async def aget_result(self, result_id: str) -> Any:
        """Do as get_result() does, without blocking the event loop."""
        if found := inline.remembered(result_id):
            return found
        ask = conf.client().aask
        pointed = await ask(commands.pointed(result_id)) if self._points and is_id(result_id) else None
        for name in self._places(result_id, pointed):
            if stored := read(await ask(commands.result(Keys(name), result_id))):
                return self._load(result_id, stored)
        raise compat.TaskResultDoesNotExist(result_id)

    @property
    def _points(self) -> bool:
        """With ``QUEUES = []`` a task may be in any list, so a key says in which."""
        return not self.queues

    def _places(self, result_id: object, pointed: bytes | None) -> list[str]:
        """Return the lists beside which a result may lie."""
        if not is_id(result_id):
            return []
        return [pointed.decode()] if pointed else self.lists()

    def _load(self, result_id: str, stored: Stored) -> Any:
        task = find(stored.path)
        if task is None:
            handlers.import_tasks()  # a process that reads results need not have imported what it never sends
            task = find(stored.path)
        if task is None:
            raise compat.TaskResultDoesNotExist(f"{result_id}: this process knows no task {stored.path}")
        return load(task, result_id, stored)

    def _new_result(self, task: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        self.require_sound()
        self.validate_task(task)
        return compat.TaskResult(
            task=task,
            id=fresh_id(),
            status=compat.TaskResultStatus.READY,
            enqueued_at=None,
            started_at=None,
            last_attempted_at=None,
            finished_at=None,
            args=args,
            kwargs=kwargs,
            backend=self.alias,
            errors=[],
            worker_ids=[],
        )

    def _runs_inline(self) -> bool:
        return conf.is_eager() and not sending.is_tapped()

    def _when(self) -> dict[str, Any]:
        on_commit = self.settings.on_commit
        return {"using": self.settings.database, "now": None if on_commit is None else not on_commit}

    def _parcel(self, result: Any) -> Parcel:
        """Check what is to be sent, while its caller can still be told."""
        task = result.task
        known = find(task.module_path)
        if known is None or known.func is not task.func:
            raise compat.InvalidTask(f"Task must be what {task.module_path} names, or no worker finds it.")
        _delay(task)
        data = {"args": result.args, "kwargs": result.kwargs}
        ready = conf.client().encode(task.module_path, data, result.id)
        return Parcel(result, self.list_of(task.queue_name), ready, msgspec.json.encode(data))

    def _outgoing(self, parcel: Parcel) -> sending.Outgoing:
        result, task = parcel.result, parcel.result.task
        return sending.Outgoing(
            id=result.id,
            type=task.module_path,
            data=msgspec.json.decode(parcel.data),
            queue=parcel.list,
            delay=_delay(task),
            priority=task.priority,
            run=partial(inline.run, result, type(self)),
        )

    def _announcements(self, parcel: Parcel, delay: float) -> list[Command]:
        """Return the commands that make room for the result."""
        task, ttl = parcel.result.task, round(self.settings.result_ttl * 1000)
        expected = Expected(
            id=parcel.result.id,
            due_ms=delay_ms(delay),
            ttl_ms=ttl,
            cap=self.settings.result_cap,
            path=task.module_path,
            backend=self.alias,
            queue=task.queue_name,
            priority=task.priority,
            run_after=task.run_after.isoformat() if task.run_after else "",
            data=parcel.data,
        )
        pointers = [commands.point(expected.id, parcel.list, expected.due_ms + ttl + ENDLESS)] if self._points else []
        return [*pointers, commands.expect(Keys(parcel.list), [expected])]

    def _send(self, parcel: Parcel) -> None:
        client, delay = conf.client(), _delay(parcel.result.task)
        now = [client.ask(command) for command in self._announcements(parcel, delay)][-1]
        client.send_encoded([parcel.ready], **_how(parcel, delay))
        _was_sent(parcel, now)
        compat.task_enqueued.send(type(self), task_result=parcel.result)

    async def _asend(self, parcel: Parcel) -> None:
        client, delay = conf.client(), _delay(parcel.result.task)
        now = [await client.aask(command) for command in self._announcements(parcel, delay)][-1]
        await client.asend_encoded(parcel.ready, **_how(parcel, delay))
        _was_sent(parcel, now)
        await compat.task_enqueued.asend(type(self), task_result=parcel.result)


def _how(parcel: Parcel, delay: float) -> dict[str, Any]:
    return {"queue": parcel.list, "delay": delay, "priority": parcel.result.task.priority}


def _was_sent(parcel: Parcel, now: int) -> None:
    change(parcel.result, enqueued_at=moment(datetime.fromtimestamp(now / 1000, UTC)))


def _delay(task: Any) -> float:
    """Return the seconds until a task is due.

    Raises:
        ValueError: they are more than ten years.
    """
    if task.run_after is None:
        return 0.0
    due = task.run_after if timezone.is_aware(task.run_after) else timezone.make_aware(task.run_after)
    delay: timedelta = max(due - timezone.now().astimezone(UTC), timedelta())
    delay_ms(delay)
    return delay.total_seconds()
