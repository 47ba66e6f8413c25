"""Bounds what one asyncio task after the other waits for."""

import asyncio
from types import TracebackType
from typing import Self


class Deadline:
    """Does what asyncio.timeout() does, for one wait at a time: ``with deadline.after(10.0): ...``.

    A wait that ends in time leaves the timer as it is, and the timer looks for the next one when it rings. To make and
    cancel a timer for each of some thousand requests a second took 6 % of a busy child's time.
    """

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[object] | None = None
        self._at = 0.0
        self._over = False
        self._cancelling = 0
        self._timer: asyncio.TimerHandle | None = None

    def after(self, seconds: float) -> Self:
        """Begin a wait.

        Args:
            seconds: that it may last; then the calling task is cancelled.
        """
        loop = self._loop = self._loop or asyncio.get_running_loop()
        self._task = asyncio.current_task(loop)
        self._cancelling = self._task.cancelling() if self._task else 0
        self._over = False
        self._at = loop.time() + seconds
        if self._timer is None or self._timer.when() > self._at:
            self._set(loop)
        return self

    def __enter__(self) -> None:
        """Wait."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        """End the wait.

        Raises:
            TimeoutError: its time was over, and the cancellation is nobody else's.
        """
        task, self._task = self._task, None
        if self._over and task and task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def _set(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = loop.call_at(self._at, self._ring, loop)

    def _ring(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        if self._task is None:
            return
        if loop.time() < self._at:
            self._set(loop)
        else:
            self._over = True
            self._task.cancel()
