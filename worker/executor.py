"""Runs tasks: from a claimed frame to an outcome. Whatever a handler or a payload does, an outcome comes out."""

import asyncio
import contextvars
import ctypes
import logging
import random
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from multiworker.worker.context import CURRENT, Current
from multiworker.worker.errors import HandlerTimeout, PayloadError, Reason
from multiworker.worker.message import Frame, decode, parse_frame, valid_name
from multiworker.worker.outcome import DONE, GIVEN_BACK, Dead, Outcome, decide
from multiworker.worker.registry import Handler, Registry
from multiworker.worker.settings import Settings

log = logging.getLogger("multiworker.worker")

MAX_TRACEBACK = 2048
"""Bytes of a traceback that are kept; the end says most, so the middle is left out."""


@dataclass(slots=True, eq=False)
class Run:
    """One delivery of a task on its way through its handler.

    Args:
        delivery: the delivery id, under which this worker holds it.
        current: what the handler may ask.
        handler: who runs it.
        argument: what the handler gets: the data, or the whole task.
        crashes: how many processes died with this task in flight.
        outcome: set when it has ended.
        task: the asyncio task, while it runs.
    """

    delivery: str
    current: Current
    handler: Handler
    argument: Any
    crashes: int
    outcome: Outcome | None = None
    task: "asyncio.Task[None] | None" = None


class Executor:
    """Turns frames into runs, and runs into outcomes.

    Args:
        registry: who handles what.
        settings: defaults for attempts and timeout; concurrency bounds the threads.
    """

    def __init__(self, registry: Registry, settings: Settings) -> None:
        self._registry = registry
        self._settings = settings
        self._is_async = {id(h): h.is_async for h in (*registry.by_type.values(), registry.catch_all) if h}
        self._threads = ThreadPoolExecutor(settings.concurrency, thread_name_prefix="handler")
        self.leaving = False
        self.busy_threads = 0

    def accept(self, delivery: str, raw: bytes, queue: str) -> Run | tuple[Frame, Dead]:
        """Decode a frame and find its handler.

        Args:
            delivery: the delivery id.
            raw: the frame.
            queue: where it came from.

        Returns:
            A run that can start, or the frame and why it goes to the dead letters.
        """
        try:
            frame = parse_frame(raw)
        except ValueError:
            frame = Frame(delivery, 1, 0, raw)
        if frame.size is not None:
            return frame, Dead(Reason.TOO_LARGE, f"{frame.size} bytes", "")
        try:
            task = decode(frame.payload)
        except PayloadError as error:
            return frame, Dead(error.reason, error.detail, error.detail)
        kind = task["type"]
        handler = self._registry.find(kind)
        if handler is None:
            return frame, Dead(Reason.NO_HANDLER, "no handler for this type", f"no handler for type {kind!r}")
        label = task.get("id")
        task_id = label if type(label) is str and valid_name(label) else frame.id
        most = handler.max_attempts or self._settings.max_attempts
        argument = task if handler.whole else task.get("data")
        return Run(delivery, Current(task_id, kind, frame.attempt, queue, most), handler, argument, frame.crashes)

    async def execute(self, run: Run) -> Outcome:
        """Run a task in the calling asyncio task, whose context is its own.

        Returns:
            Its outcome; nothing that a handler raises gets out.
        """
        CURRENT.set(run.current)
        timeout = run.handler.timeout or self._settings.timeout
        try:
            if not self._is_async[id(run.handler)]:
                await self._in_thread(run, timeout)
            elif timeout is None:
                await run.handler.function(run.argument)
            else:
                await _within(timeout, run)
        except BaseException as error:  # noqa: BLE001 - SystemExit of one task must not end the others
            return self._failed(run, error)
        return DONE

    def close(self) -> None:
        """Let idle threads go; those that still run a handler end with the process."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _failed(self, run: Run, error: BaseException) -> Outcome:
        if self.leaving and isinstance(error, asyncio.CancelledError):
            return GIVEN_BACK
        return decide(
            error,
            format_traceback(error),
            attempt=run.current.attempt,
            max_attempts=run.current.max_attempts,
            backoff=run.handler.backoff,
            random=random.random(),  # noqa: S311 - jitter
        )

    async def _in_thread(self, run: Run, timeout: float | None) -> None:
        """Run a plain function in a thread, and wait for its real end: a thread cannot be left behind."""
        loop = asyncio.get_running_loop()
        call = _Call(run.handler.function, run.argument)
        context = contextvars.copy_context()
        future = loop.run_in_executor(self._threads, context.run, call)
        alarm = None if timeout is None else loop.call_later(timeout, call.interrupt)
        self.busy_threads += 1
        future.add_done_callback(self._thread_ended)
        try:
            result = await asyncio.shield(future)
        finally:
            if alarm:
                alarm.cancel()
        if asyncio.iscoroutine(result):
            await result  # a plain function may return a coroutine, as functools.partial objects do

    def _thread_ended(self, future: "asyncio.Future[Any]") -> None:
        self.busy_threads -= 1
        if not future.cancelled():
            future.exception()  # read it, or asyncio complains when a cancelled task has left it behind


async def _within(timeout: float, run: Run) -> None:
    try:
        async with asyncio.timeout(timeout) as deadline:
            await run.handler.function(run.argument)
    except TimeoutError:
        if deadline.expired():
            raise HandlerTimeout(f"it ran longer than its timeout of {timeout:g} s") from None
        raise


class _Call:
    """A function call in a thread that can be interrupted between two of its bytecodes.

    Args:
        function: to be called.
        argument: its only argument.
    """

    def __init__(self, function: Callable[[Any], Any], argument: Any) -> None:
        self._function = function
        self._argument = argument
        self._lock = threading.Lock()
        self._thread: int | None = None
        self._interrupted = False

    def __call__(self) -> Any:
        with self._lock:
            self._thread = threading.get_ident()
        try:
            try:
                return self._function(self._argument)
            finally:
                # Critical section: once the thread is unset, no interrupt can be sent to whatever runs here next.
                with self._lock:
                    self._thread = None
        except HandlerTimeout:
            if self._interrupted:
                raise HandlerTimeout("it ran longer than its timeout") from None
            raise

    def interrupt(self) -> None:
        """Raise HandlerTimeout inside the function, unless it has ended; a call blocked in C notices when it returns."""
        with self._lock:
            if self._thread is not None:
                self._interrupted = True
                ctypes.pythonapi.PyThreadState_SetAsyncExc(
                    ctypes.c_ulong(self._thread), ctypes.py_object(HandlerTimeout)
                )


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
