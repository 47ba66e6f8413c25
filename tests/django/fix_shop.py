"""A pytest plugin: the example project, run as a newcomer runs it, with its data in a directory of the test's."""

import contextlib
import os
import pty
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.system.fix_system import Answer, answer, system_processes

SHOP = Path(__file__).parents[2] / "examples" / "shop"


class Shop:
    """The project with a database and a Redis of its own.

    Args:
        directory: for all that is written.
        url: of the Redis; None leaves the project its own.
    """

    def __init__(self, directory: Path, url: str | None) -> None:
        self.data = directory / "shop"
        self.log_file = directory / "worker.log"
        self._began: list[subprocess.Popen[Any]] = []
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("MULTIWORKER_", "REDIS", "DJANGO_"))}
        runtime = directory / "runtime"
        runtime.mkdir()
        own = {"SHOP_DATA": str(self.data), "RUNTIME_DIRECTORY": str(runtime), "TMPDIR": str(directory)}
        self.environment = inherited | own | ({"REDIS_URL": url} if url else {})

    def begin(self, *command: str, **popen: Any) -> subprocess.Popen[str]:
        """Start a command in the project's folder, in a session of its own."""
        how: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        process = subprocess.Popen(
            command, cwd=SHOP, env=self.environment, text=True, start_new_session=True, **how | popen
        )
        self._began.append(process)
        return process

    def manage(self, *arguments: str) -> Answer:
        """Run a management command to its end."""
        return answer(self.begin(sys.executable, "manage.py", *arguments))

    def manage_well(self, *arguments: str) -> str:
        """Run a management command, which must succeed and complain of nothing; return what it says."""
        said = self.manage(*arguments)
        assert (said.code, said.err) == (0, ""), said
        return said.out

    def on_terminal(self, *arguments: str, typed: str = "") -> tuple[int, str]:
        """Run a management command on a terminal; return its exit code, and what the terminal shows."""
        ours, theirs = pty.openpty()
        process = self.begin(sys.executable, "manage.py", *arguments, stdin=theirs, stdout=theirs, stderr=theirs)
        os.close(theirs)
        os.write(ours, typed.encode())
        shown = b""
        try:
            while piece := os.read(ours, 4096):
                shown += piece
        except OSError:  # the other side is closed
            pass
        os.close(ours)
        return process.wait(), shown.decode()

    def start_worker(self, *options: str) -> subprocess.Popen[str]:
        """Start ``manage.py async_command``, whose output goes to a file."""
        with self.log_file.open("ab") as log:
            return self.begin(sys.executable, "manage.py", "async_command", *options, stdout=log, stderr=log)

    def log(self) -> str:
        """Return what workers have written."""
        return self.log_file.read_text() if self.log_file.exists() else ""

    def rows(self, query: str) -> list[Any]:
        """Ask the project's database."""
        with contextlib.closing(sqlite3.connect(self.data / "db.sqlite3")) as connection:
            return connection.execute(query).fetchall()

    def mails(self) -> list[str]:
        """Return the mails that were sent."""
        return [path.read_text() for path in sorted((self.data / "mail").glob("*.log"))]

    def processes(self) -> list[int]:
        """Return every process that it has started and that lives."""
        sessions = {process.pid for process in self._began}
        return [one.pid for one in system_processes() if one.session in sessions and one.is_alive]

    def close(self) -> None:
        """End everything at once."""
        while pids := self.processes():
            for pid in pids:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            for process in self._began:
                process.poll()
        for process in self._began:
            with process:
                process.wait()


@pytest.fixture
def shop(tmp_path: Path, redis_url: str) -> Iterator[Shop]:
    """The example project on the shared Redis, with an empty database; its processes are gone after the test."""
    made = Shop(tmp_path, redis_url)
    try:
        made.manage_well("migrate", "--verbosity=0")
        yield made
    finally:
        made.close()


@pytest.fixture
def bare_shop(tmp_path: Path) -> Iterator[Shop]:
    """The example project as it is checked out: no database, and no Redis but its own."""
    made = Shop(tmp_path, None)
    try:
        yield made
    finally:
        made.close()
