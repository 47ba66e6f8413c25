"""For tests of Django projects: tasks that were sent are collected, looked at, and run, without Redis and workers.

``CollectTasksMixin`` is for Django's test cases, ``collect_tasks()`` for anything else, and pytest has the fixture
``sent_tasks``.
"""

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from typing import Any, overload

from asgiref.sync import sync_to_async
from django.db.backends.base.base import BaseDatabaseWrapper

from multiworker.django.sending import Delivery, Outgoing, tapped

__all__ = ["CollectTasksMixin", "Outgoing", "SentTasks", "collect_tasks"]

MOST = 10_000
"""Tasks that run() runs; if there are more, they send each other without end."""
_ANY = object()


class SentTasks(Sequence[Outgoing]):
    """The tasks that have been sent, in order; multiworker.django.enqueue's and those of django.tasks.

    Inside Django's TestCase, whose transaction is never committed, a task counts as sent when the transactions that the
    code under test has opened are over, and never if they were rolled back.
    """

    def __init__(self) -> None:
        self._sent: list[Outgoing] = []
        self._waiting: list[tuple[Delivery, BaseDatabaseWrapper]] = []

    @overload
    def __getitem__(self, index: int) -> Outgoing: ...
    @overload
    def __getitem__(self, index: slice) -> list[Outgoing]: ...
    def __getitem__(self, index: int | slice) -> Outgoing | list[Outgoing]:
        """Return a task, or some."""
        self._settle()
        return self._sent[index]

    def __len__(self) -> int:
        """Count them."""
        self._settle()
        return len(self._sent)

    def __repr__(self) -> str:
        return f"<{len(self)} tasks: {', '.join(task.type for task in self._sent)}>"

    def of(self, type: str) -> list[Outgoing]:  # noqa: A002 - the task's key has this name
        """Return those of one type.

        Args:
            type: of the task; of django.tasks, the path of the function.
        """
        return [task for task in self if task.type == type]

    def assert_sent(self, type: str, data: Any = _ANY, *, times: int = 1) -> None:  # noqa: A002 - as above
        """Check that a task has been sent.

        Args:
            type: as for of().
            data: what its handler would get, if that matters; of django.tasks, ``{"args": [...], "kwargs": {...}}``.
            times: how often.

        Raises:
            AssertionError: it has not; says what has.
        """
        __tracebackhide__ = True
        found = [task for task in self.of(type) if data is _ANY or task.data == data]
        if len(found) != times:
            what = type if data is _ANY else f"{type} with {data!r}"
            sent = "".join(f"\n  {task.type} {task.data!r}" for task in self) or "\n  nothing"
            raise AssertionError(f"{what} was sent {len(found)} times, not {times}; sent was:{sent}")

    def run(self) -> list[Any]:
        """Run the tasks here and now, in order, and those that they send; afterwards none is left.

        Returns:
            What their handlers return; None for tasks of django.tasks, whose results know.

        Raises:
            Exception: what a handler raises; the tasks after it are left. A task of django.tasks that fails says so in
                its result alone.
            AssertionError: they send each other without end.
        """
        values: list[Any] = []
        while len(self):
            if len(values) == MOST:
                raise AssertionError(f"{MOST} tasks have run, and they still send more")
            values.append(self._sent.pop(0).run())
        return values

    async def arun(self) -> list[Any]:
        """Do as run() does, from an async test."""
        return await sync_to_async(self.run)()

    def clear(self) -> None:
        """Forget them."""
        self._settle()
        self._sent.clear()

    def take(self, task: Outgoing) -> None:
        """Take a task that would be sent now."""
        self._settle()  # what was sent before it comes before it
        self._sent.append(task)

    def expect(self, delivery: Delivery, connection: BaseDatabaseWrapper) -> None:
        """Know of tasks that wait for the commit on a connection."""
        self._waiting.append((delivery, connection))

    def _settle(self) -> None:
        """Take those for which only the transaction of the test itself is still open."""
        waiting, self._waiting = self._waiting, []
        for delivery, connection in waiting:
            if _only_the_test_waits(delivery, connection):
                delivery()
            elif not delivery.done and _hooks(delivery, connection):
                self._waiting.append((delivery, connection))


def _hooks(delivery: Delivery, connection: BaseDatabaseWrapper) -> list[set[str]]:
    """Return the savepoints inside which it was sent; nothing if it was rolled back."""
    return [savepoints for savepoints, call, _ in connection.run_on_commit if call is delivery]


def _only_the_test_waits(delivery: Delivery, connection: BaseDatabaseWrapper) -> bool:
    own = _tests_own_blocks(connection)
    open_ones = {*connection.savepoint_ids[own - 1 :]}
    return own > 0 and any(not savepoints & open_ones for savepoints in _hooks(delivery, connection))


def _tests_own_blocks(connection: BaseDatabaseWrapper) -> int:
    """Count the transactions and savepoints that Django's TestCase has around a test: to its code there is none."""
    own = itertools.takewhile(lambda block: getattr(block, "_from_testcase", False), connection.atomic_blocks)
    return len(list(own))


@contextlib.contextmanager
def collect_tasks() -> Iterator[SentTasks]:
    """Collect all tasks that this process would send meanwhile; nothing gets to Redis, and nothing runs by itself."""
    tasks = SentTasks()
    with tapped(tasks):
        yield tasks


class CollectTasksMixin:
    """For Django's test cases, before their class: ``self.tasks`` has what each test has sent so far."""

    tasks: SentTasks

    def run(self, result: Any = None) -> Any:
        """Run the test, with its fixtures."""
        with collect_tasks() as self.tasks:
            return super().run(result)  # type: ignore[misc]  # of unittest.TestCase
