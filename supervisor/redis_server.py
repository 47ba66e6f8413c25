"""The embedded redis-server as one more child of the parent: started, restarted, and stopped last."""

import logging
import random
import signal
import time

from multiworker.supervisor.embedded import server_command
from multiworker.supervisor.pidfile import lock
from multiworker.supervisor.process import execute, fork, reap, send
from multiworker.supervisor.restart import Slots
from multiworker.supervisor.signals import arrivals
from multiworker.worker.embedded import directory, socket_path

log = logging.getLogger("multiworker.supervisor")

STOP_TIME = 10.0
"""Seconds that the server gets to write its data before it is killed."""
_TICK = 0.05
_SLOT = 1


class RedisServer:
    """A private server on a unix socket, with an append-only file.

    Args:
        url: ``embedded:[DIR]``.

    Raises:
        SettingsError: no server program, or no usable directory.
    """

    def __init__(self, url: str) -> None:
        self._directory = directory(url)
        self._command = server_command(self._directory, socket_path(url))
        self._pid = 0
        self._lock = -1
        self._slots = Slots()

    def lock(self) -> int:
        """Take the directory for this parent; two servers on one append-only file would destroy it.

        Returns:
            The file descriptor that holds the lock; children must close it.

        Raises:
            AlreadyRunningError: another parent has it.
            OSError: it cannot be written.
        """
        self._lock = lock(self._directory / "multiworker.pid")
        return self._lock

    def keep_running(self, now: float) -> None:
        """Start the server if it is not running and its back-off allows it.

        Args:
            now: monotonic seconds.
        """
        self._slots.refill(_SLOT, now)
        if self._pid or not self._slots.may_fork(_SLOT, now):
            return
        self._slots.forked()
        self._pid = fork(lambda: execute(self._command), close=[self._lock])
        log.info("embedded Redis in %s, pid %d", self._directory, self._pid)

    def reaped(self, pid: int, code: int, now: float) -> bool:
        """Note that a process has ended.

        Returns:
            True if it was the server.
        """
        if pid != self._pid:
            return False
        self._pid = 0
        self._slots.died(_SLOT, now, random.random(), useful=False)  # noqa: S311 - jitter
        log.error("the embedded Redis ended with %d; it is started again", code)
        return True

    def stop(self) -> None:
        """Have the server write its data and end; nobody uses it any more."""
        if not self._pid:
            return
        send(self._pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_TIME
        while self._pid:
            for pid, _ in reap():
                if pid == self._pid:
                    self._pid = 0
            if self._pid and time.monotonic() >= deadline:
                send(self._pid, signal.SIGKILL)
            for _ in arrivals(_TICK if self._pid else 0.0):
                continue
