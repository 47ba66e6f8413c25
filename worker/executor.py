"""Runs tasks: from a claimed frame to an outcome. Whatever a handler or a payload does, an outcome comes out."""

import asyncio
import contextvars
import inspect
import logging
import random
import traceback
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import msgspec

from multiworker.worker.context import Current
from multiworker.worker.errors import HandlerTimeout, PayloadError, Reason
from multiworker.worker.logs import describe
from multiworker.worker.message import SUSPECT, Frame, check_type, decode_object, parse_frame, valid_name
from multiworker.worker.outcome import DONE, GIVEN_BACK, Dead, Outcome, RetryIn, decide
from multiworker.worker.registry import Handler, Observer, Registry
from multiworker.worker.results import Records
from multiworker.worker.settings import Settings
from multiworker.worker.timeouts import Call, within

log = logging.getLogger("multiworker.worker")

MAX_TRACEBACK = 2048
"""Bytes of a traceback that are kept; the end says most, so the middle is left out."""


class Run(msgspec.Struct, eq=False):
    """One delivery of a task on its way through its handler; a struct, because millions of them are made.

    Args:
        delivery: the delivery id, under which this worker holds it.
        frame: as it was claimed; its header is read only when somebody asks.
        queue: the list it came from.
        handler: who runs it.
        kind: its type.
        payload: the whole task, decoded; a catch-all gets it as it is, and may change it.
        max_attempts: how often it may run.
        alone: it was in flight in so many crashes that nothing else may run with it.
        task: the asyncio task, while it runs.
        dropped: it is not ours any more, and nothing is recorded of it.
        observed: what its handler's observer keeps of it.
        started: monotonic seconds at which its handler was called; 0 before.
    """

    delivery: str
    frame: bytes
    queue: str
    handler: Handler
    kind: str
    payload: dict[str, Any]
    max_attempts: int
    alone: bool = False
    task: "asyncio.Task[None] | None" = None
    dropped: bool = False
    observed: Any = None
    started: float = 0.0

    @property
    def label(self) -> str:
        """The id that people know it by: the producer's if it gave a proper one."""
        label = self.payload.get("id")
        return label if type(label) is str and valid_name(label) else parse_frame(self.frame).id

    def describe(self) -> Current:
        """Return what its handler may know."""
        attempt = parse_frame(self.frame).attempt
        return Current(self.label, self.kind, attempt, self.queue, self.max_attempts)


class Executor:
    """Turns frames into runs, and runs into outcomes.

    Args:
        registry: who handles what.
        settings: defaults for attempts and timeout; concurrency bounds the threads.
        records: queue -> who records how its tasks fare; only handlers with an observer use them.
    """

    def __init__(self, registry: Registry, settings: Settings, records: Mapping[str, Records] | None = None) -> None:
        self._by_type = registry.by_type
        self._catch_all = registry.catch_all
        self._calls = registry.calls
        self._records = records or {}
        self._max_attempts = settings.max_attempts
        self._timeout = settings.timeout
        self._threads = ThreadPoolExecutor(settings.concurrency, thread_name_prefix="handler")
        self._patience = settings.grace
        self._late: set[asyncio.Task[None]] = set()
        self.leaving = False
        self.busy_threads = 0
        self.runaways = 0
        """Runs that went on long after their timeout."""

    def accept(self, delivery: str, raw: bytes, queue: str) -> Run | tuple[Frame, Dead]:
        """Decode a frame and find its handler.

        Args:
            delivery: the delivery id.
            raw: the frame.
            queue: where it came from.

        Returns:
            A run that can start, or the frame and why it goes to the dead letters.
        """
        header, _, payload = raw.partition(b"\n")
        alone = False
        if not header.endswith(b" 1 0"):  # nearly all are new, and this is the hottest path of all
            frame = parse_frame(raw)
            if frame.size is not None:
                return frame, Dead(Reason.TOO_LARGE, f"{frame.size} bytes", "")
            alone = frame.crashes >= SUSPECT
        try:
            task = decode_object(payload)
            kind: Any = task.get("type")
            handler = self._by_type.get(kind) if type(kind) is str else None
            if handler is None:
                check_type(task)
                handler = None if self._calls and _is_call(task) else self._catch_all
        except PayloadError as error:
            return parse_frame(raw), Dead(error.reason, error.detail, error.detail)
        if handler is None:
            return parse_frame(raw), Dead(Reason.NO_HANDLER, "no handler for this type", f"no handler for {kind!r}")
        return Run(delivery, raw, queue, handler, kind, task, handler.max_attempts or self._max_attempts, alone)

    async def execute(self, run: Run, overran: Callable[[Run, Outcome], object]) -> Outcome:
        """Run a task in the calling asyncio task, in whose context it is the current one.

        Args:
            run: from accept().
            overran: called with the outcome if the handler goes on for another ``--grace`` after its timeout: one that
                does not let itself be cancelled must not keep its task for ever. What this returns later says nothing.

        Returns:
            Its outcome; nothing that a handler raises gets out.
        """
        if self.leaving:
            return GIVEN_BACK
        if run.handler.observer is not None:
            return await self._observed(run, run.handler.observer, overran)
        try:
            await self._call(run, overran)
        except BaseException as error:  # noqa: BLE001 - SystemExit of one task must not end the others
            return self.failed(run, error)
        return DONE

    def _call(self, run: Run, overran: Callable[[Run, Outcome], object]) -> Awaitable[Any]:
        """Begin a run; the result gives what the handler returns. Most have no limit, and nothing around them then."""
        handler = run.handler
        argument = run.payload if handler.whole else run.payload.get("data")
        limit = handler.timeout or self._timeout
        if handler.is_async and limit is None:
            awaitable: Awaitable[Any] = handler.function(argument)
            return awaitable
        return self._limited(run, argument, limit, overran)

    async def _limited(
        self, run: Run, argument: Any, limit: float | None, overran: Callable[[Run, Outcome], object]
    ) -> Any:
        handler = run.handler
        alarm = None if limit is None else self._alarm(limit, run, overran)
        try:
            if handler.is_async and limit is not None:
                return await within(limit, handler.function(argument))
            return await self._in_thread(handler.function, argument, limit)
        finally:
            if alarm:
                alarm.cancel()

    async def _observed(self, run: Run, observer: Observer, overran: Callable[[Run, Outcome], object]) -> Outcome:
        """Run a task whose results are recorded: what it returns here may be acknowledged, for it is on record."""
        records = self._records[run.queue]
        try:
            known: Outcome | None = await observer.started(run, records)
            if known is not None:
                return known
            value = await self._call(run, partial(self._overran, observer, overran))
        except GeneratorExit:  # this coroutine is being closed, and can wait for nothing any more: see runner.py
            raise
        except BaseException as error:  # noqa: BLE001 - as above
            outcome = self.failed(run, error)
            return await self._end(run, observer, outcome, None, error)
        return await self._end(run, observer, DONE, value, None)

    async def _end(
        self, run: Run, observer: Observer, outcome: Outcome, value: Any, error: BaseException | None
    ) -> Outcome:
        """Have a run's end recorded."""
        if run.dropped:
            return outcome
        try:
            await observer.ended(run, self._records[run.queue], outcome, value, error)
        except (Exception, asyncio.CancelledError) as trouble:  # noqa: BLE001 - whatever it is, it may be on record now
            if self.leaving or run.dropped:
                return GIVEN_BACK
            return RetryIn(0.0, describe(trouble))  # which finds out, and ends at once if it is
        return outcome

    def _overran(
        self, observer: Observer, overran: Callable[[Run, Outcome], object], run: Run, outcome: Outcome
    ) -> None:
        """Have the end of a run that does not end recorded, too, before it is settled."""

        async def end() -> None:
            error = HandlerTimeout("it went on long after its timeout")
            overran(run, await self._end(run, observer, outcome, None, error))

        task = asyncio.get_running_loop().create_task(end())
        self._late.add(task)
        task.add_done_callback(self._late.discard)

    def _alarm(self, timeout: float, run: Run, overran: Callable[[Run, Outcome], object]) -> asyncio.TimerHandle:
        def give_up() -> None:
            self.runaways += 1
            error = HandlerTimeout(f"it went on for {self._patience:g} s after its timeout of {timeout:g} s")
            overran(run, self.failed(run, error))

        return asyncio.get_running_loop().call_later(timeout + self._patience, give_up)

    def failed(self, run: Run, error: BaseException) -> Outcome:
        """Judge what a handler raised.

        Args:
            run: the run that it ended.
            error: whatever it was.
        """
        if self.leaving and isinstance(error, asyncio.CancelledError):
            return GIVEN_BACK
        return decide(
            error,
            format_traceback(error),
            attempt=parse_frame(run.frame).attempt,
            max_attempts=run.max_attempts,
            backoff=run.handler.backoff,
            random=random.random(),  # noqa: S311 - jitter
        )

    async def _in_thread(self, function: Callable[[Any], Any], argument: Any, limit: float | None) -> Any:
        """Run a plain function in a thread, and wait for its real end: a thread cannot be left behind."""
        loop = asyncio.get_running_loop()
        call = Call(function, argument)
        context = contextvars.copy_context()
        future = loop.run_in_executor(self._threads, context.run, call)
        alarm = None if limit is None else loop.call_later(limit, call.interrupt)
        self.busy_threads += 1
        future.add_done_callback(self._thread_ended)
        try:
            result, error = await asyncio.shield(future)
        finally:
            if alarm:
                alarm.cancel()
        if error is not None:
            raise error
        if inspect.iscoroutine(result):  # a plain function around a coroutine function, as careless decorators make
            return await (result if limit is None else within(limit, result))
        return result

    def _thread_ended(self, future: "asyncio.Future[Any]") -> None:
        self.busy_threads -= 1
        if not future.cancelled():
            future.exception()  # read it, or asyncio complains when a cancelled task has left it behind


def _is_call(task: dict[str, Any]) -> bool:
    data = task.get("data")
    return type(data) is dict and data.keys() == {"args", "kwargs"}


def format_traceback(error: BaseException) -> str:
    """Return a traceback of at most MAX_TRACEBACK bytes, also for exceptions that cannot be printed.

    Args:
        error: what a handler raised.
    """
    try:
        text = "".join(traceback.format_exception(error, limit=-20))
    except BaseException as trouble:  # noqa: BLE001 - user code may raise anything from __str__
        text = f"{type(error).__name__} (its traceback could not be written: {type(trouble).__name__})"
    raw = text.encode("utf-8", "backslashreplace")
    if len(raw) <= MAX_TRACEBACK:
        return raw.decode()
    half = (MAX_TRACEBACK - 5) // 2
    return raw[:half].decode("utf-8", "ignore") + "\n...\n" + raw[-half:].decode("utf-8", "ignore")
