"""The embedded redis-server as one more child of the parent: started, restarted, and stopped last."""

import logging
import os
import random
import signal
import sys
import time

from multiworker.supervisor.children import say_code
from multiworker.supervisor.embedded import server_command
from multiworker.supervisor.pidfile import AlreadyRunningError, lock
from multiworker.supervisor.process import execute, fork, reap, send
from multiworker.supervisor.restart import Slots
from multiworker.supervisor.signals import arrivals
from multiworker.worker.embedded import directory, socket_path

log = logging.getLogger("multiworker.supervisor")

STOP_TIME = 10.0
"""Seconds that the server gets to write its data before it is killed."""
STABLE = 10.0
"""Seconds after which a server that ends was no failed start."""
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
        self._started_at = 0.0
        self._trouble = ""

    @property
    def pid(self) -> int:
        """Its process id; 0 while it does not run."""
        return self._pid

    def lock(self) -> int:
        """Take the directory for this parent.

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
        try:
            self._start(now)
        except AlreadyRunningError:
            self._cannot_start("the server of an earlier parent is still writing its data")
        except OSError as error:
            self._cannot_start(f"{error.filename or 'fork'}: {error.strerror}")

    def _start(self, now: float) -> None:
        """Fork the server with a lock that is its own: it may outlive a parent that is killed.

        A second server on one append-only file would destroy it, and the first one would take the socket along.
        """
        held = lock(self._directory / "redis.lock")
        try:
            self._pid = fork(lambda: self._become_server(held), close=[self._lock])
        finally:
            os.close(held)
        self._slots.forked()
        self._started_at = now
        self._trouble = ""
        log.info("embedded Redis in %s, pid %d", self._directory, self._pid)

    def _become_server(self, held: int) -> int:
        os.set_inheritable(held, True)
        os.umask(0o077)
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what it has to say belongs into the log
        return execute(self._command)

    def _cannot_start(self, trouble: str) -> None:
        """Say so once; the next pass tries again."""
        if trouble != self._trouble:
            log.warning("the embedded Redis cannot start yet: %s", trouble)
            self._trouble = trouble

    def reaped(self, pid: int, code: int, now: float) -> bool:
        """Note that a process has ended.

        Returns:
            True if it was the server.
        """
        if pid != self._pid:
            return False
        self._pid = 0
        stable = now - self._started_at >= STABLE
        self._slots.died(_SLOT, now, random.random(), useful=stable)  # noqa: S311 - jitter
        log.error("the embedded Redis ended: %s; it is started again", say_code(code))
        return True

    def stop(self) -> None:
        """Have the server write its data and end; nobody uses it any more."""
        if not self._pid:
            return
        send(self._pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_TIME
        while self._pid:
            for pid, _ in reap([self._pid]):
                if pid == self._pid:
                    self._pid = 0
            if self._pid and time.monotonic() >= deadline:
                send(self._pid, signal.SIGKILL)
            for _ in arrivals(_TICK if self._pid else 0.0):
                continue
