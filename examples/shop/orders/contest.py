"""The sample load on workers of its own: a queue, and perhaps a Redis, that nothing else uses."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from multiworker.supervisor.embedded import server_command
from multiworker.worker.addresses import is_embedded
from multiworker.worker.client import Client
from multiworker.worker.errors import MultiworkerError
from multiworker.worker.keys import Keys
from multiworker.worker.operate import Operator
from orders.load import LOAD, ideal
from orders.watching import views

MANAGE = Path(__file__).parents[1] / "manage.py"
PATIENCE = 30.0
"""Seconds for a start or an end, and for the load beyond its own; a busy machine takes its time."""
LOOK = 0.01
LOG_TAIL = 10
"""Lines of a worker's log that a failure shows."""


class ContestError(MultiworkerError):
    """A worker did not do its part."""


class Contest:
    """Runs the load, each time on a worker of its own.

    Args:
        url: of the Redis.
        queue: the name of a list that nothing else uses.
    """

    def __init__(self, url: str, queue: str) -> None:
        self._url = url
        self._name = queue
        self._client = Client(url)
        self._queue = Operator(self._client.ask, queue)

    def run(self, permits: int) -> float:
        """Start a worker, wait until it takes tasks, and give it the load.

        Args:
            permits: tasks that it runs at once.

        Returns:
            Seconds from before the tasks are pushed until Redis knows that all are done, without the worker's start.

        Raises:
            ContestError: the worker does not start, or does not get done.
            RedisUnavailable: Redis does not answer.
        """
        options = (f"--concurrency={permits}", f"--queue={self._name}")
        with tempfile.TemporaryFile() as log:
            worker = subprocess.Popen(
                [sys.executable, str(MANAGE), "async_command", *options],
                env={**os.environ, "MULTIWORKER_REDIS": self._url},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
            try:
                self._wait_for_worker(worker)
                return self._time()
            except ContestError as error:
                log.seek(0)
                lines = log.read().decode("utf-8", "replace").splitlines()[-LOG_TAIL:]
                raise ContestError("\n  ".join([f"{error}; its log ends:", *lines])) from None
            finally:
                end(worker)

    def clean_up(self) -> None:
        """Delete what the queue has left in Redis."""
        self._client.ask(("UNLINK", *Keys(self._name).of_worker("")))
        self._client.close()

    def _wait_for_worker(self, worker: "subprocess.Popen[bytes]") -> None:
        deadline = time.monotonic() + PATIENCE
        while not self._queue.depths().workers:
            if worker.poll() is not None:
                raise ContestError(f"the worker ended with exit code {worker.returncode}")
            if time.monotonic() > deadline:
                raise ContestError(f"the worker took nothing for {PATIENCE:g} s")
            time.sleep(LOOK)

    def _time(self) -> float:
        began = time.monotonic()
        self._client.enqueue_many([(kind, None) for kind in LOAD], queue=self._name)
        for view in views(self._queue, LOOK):
            if view.seconds > ideal(1) + PATIENCE:
                raise ContestError(f"the worker left {view.left} tasks undone")
        return time.monotonic() - began


@contextmanager
def redis_for(url: str) -> Iterator[str]:
    """Find a Redis for the contest.

    Args:
        url: the project's. The server of ``embedded:`` runs only while a worker does: in its place another one of its
            kind is started, and its data thrown away.

    Yields:
        The URL to use.

    Raises:
        SettingsError: there is no server program.
    """
    if not is_embedded(url):
        yield url
        return
    with tempfile.TemporaryDirectory(prefix="shop-") as directory:
        socket = Path(directory) / "redis.sock"
        server = subprocess.Popen(
            server_command(socket.parent, socket), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        try:
            deadline = time.monotonic() + PATIENCE
            while not socket.exists() and server.poll() is None and time.monotonic() < deadline:
                time.sleep(LOOK)
            yield f"unix://{socket}"
        finally:
            end(server)


def end(process: "subprocess.Popen[bytes]") -> None:
    """End a process in order, or else at once."""
    process.terminate()
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
