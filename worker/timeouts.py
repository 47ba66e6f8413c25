"""Ends handlers that take too long: coroutines by cancelling them, functions in threads by an exception."""

import asyncio
import ctypes
import threading
from collections.abc import Awaitable, Callable
from typing import Any

from multiworker.worker.errors import HandlerTimeout


async def within(limit: float, work: Awaitable[Any]) -> Any:
    """Await a handler, and cancel it when its time is over.

    Args:
        limit: seconds.
        work: the handler.

    Returns:
        What it returns.

    Raises:
        HandlerTimeout: it was cancelled for that.
    """
    try:
        async with asyncio.timeout(limit) as deadline:
            return await work
    except TimeoutError:
        if deadline.expired():
            raise HandlerTimeout(f"it ran longer than its timeout of {limit:g} s") from None
        raise


class Call:
    """A function call in a thread that can be interrupted between two of its bytecodes.

    It gives its result and what was raised as values: a Future would never end with StopIteration, and GeneratorExit
    would close the coroutines that await it.

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

    def __call__(self) -> tuple[Any, BaseException | None]:
        """Call the function; return its result and None, or None and what it raised."""
        with self._lock:
            self._thread = threading.get_ident()
        try:
            try:
                return self._function(self._argument), None
            finally:
                # Critical section: once the thread is unset, no interrupt can be sent to whatever runs here next.
                with self._lock:
                    self._thread = None
        except BaseException as error:  # noqa: BLE001 - whatever it is, the event loop judges it
            if self._interrupted and isinstance(error, HandlerTimeout):
                return None, HandlerTimeout("it ran longer than its timeout")
            return None, error

    def interrupt(self) -> None:
        """Raise HandlerTimeout in the function, unless it has ended; a call blocked in C notices when it returns."""
        with self._lock:
            if self._thread is not None:
                self._interrupted = True
                ctypes.pythonapi.PyThreadState_SetAsyncExc(
                    ctypes.c_ulong(self._thread), ctypes.py_object(HandlerTimeout)
                )
