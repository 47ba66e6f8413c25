"""A pytest plugin: a real PostgreSQL server on a unix socket, one for each process that runs tests."""

import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

PROGRAMS = Path("/usr/lib/postgresql")
"""Where Debian has them, by major version."""
OWNERS = ("postgres", "nobody")
"""Users that may run the server if these tests run as root, for which it refuses to run."""
START_TIMEOUT = 60.0
"""Seconds until a server that does not answer counts as broken."""
MOST = 300
"""Connections that it allows."""


class Postgres:
    """A server that keeps nothing.

    Args:
        directory: an existing directory with a short path, for the socket and the server's files.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._programs = find_programs()
        self._data = directory / "data"
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = itertools.count()
        self._who: dict[str, Any] = {"stdin": subprocess.DEVNULL, "cwd": directory}
        if os.getuid() == 0:
            owner = _owner()
            os.chown(directory, owner.pw_uid, owner.pw_gid)
            self._who |= {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}

    def start(self) -> None:
        """Make the files, start the server, and wait until it answers."""
        log_path = self.directory / "log"
        with log_path.open("wb") as log:
            how = self._who | {"stdout": log, "stderr": log}
            make = ["initdb", "-D", str(self._data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "-N"]
            subprocess.run([str(self._programs / make[0]), *make[1:]], check=True, **how)
            options = {"listen_addresses": "", "fsync": "off", "max_connections": str(MOST)}
            run = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
            command = [str(self._programs / "postgres"), "-D", str(self._data), "-k", str(self.directory), *run]
            self._process = subprocess.Popen(command, **how)
        deadline = time.monotonic() + START_TIMEOUT
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"postgres did not start: {log_path.read_text()}")
            time.sleep(0.02)

    def stop(self) -> None:
        """End the server and its connections."""
        if self._process:
            self._process.send_signal(2)  # SIGINT: a fast shutdown
            self._process.wait(START_TIMEOUT)
        self._process = None

    def ask(self, query: str, *values: Any) -> list[Any]:
        """Return the rows that a query gives, asked on a connection of its own."""
        with psycopg.connect(host=str(self.directory), user="postgres", dbname="postgres", autocommit=True) as one:
            cursor = one.execute(query, values)
            return cursor.fetchall() if cursor.description else []

    def make_database(self) -> str:
        """Make an empty database; its name."""
        name = f"site{next(self._numbers)}"
        self.ask(f"CREATE DATABASE {name}")
        return name

    def settings(self, database: str, **more: Any) -> dict[str, Any]:
        """Return a database's entry of Django's DATABASES.

        Args:
            database: its name.
            more: of the entry.
        """
        where = {"HOST": str(self.directory), "PORT": "", "USER": "postgres", "PASSWORD": "", "NAME": database}
        return {"ENGINE": "django.db.backends.postgresql", "OPTIONS": {}, **where, **more}

    def sessions(self, database: str) -> list[tuple[int, str]]:
        """Return the connections to a database: process id of the server's, and what it does now."""
        query = (
            "SELECT pid, state FROM pg_stat_activity WHERE datname = %s AND backend_type = 'client backend' ORDER BY 1"
        )
        return [(pid, state) for pid, state in self.ask(query, database)]

    def end_session(self, pid: int) -> None:
        """End a connection from the server's side, and wait until it is gone."""
        self.ask("SELECT pg_terminate_backend(%s, 60000)", pid)

    def _answers(self) -> bool:
        try:
            return bool(self.ask("SELECT 1"))
        except psycopg.OperationalError:
            return False


def find_programs() -> Path:
    """Return the directory of the server's programs; without them the test is skipped, or fails under CI."""
    versions = sorted(PROGRAMS.glob("*/bin/postgres"), key=lambda path: float(path.parts[-3]))
    if versions:
        return versions[-1].parent
    if path := shutil.which("postgres"):
        return Path(path).parent
    missing = "there is no PostgreSQL server: apt-get install postgresql"
    if os.environ.get("CI"):
        pytest.fail(missing)
    pytest.skip(missing)


def _owner() -> pwd.struct_passwd:
    for name in OWNERS:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise RuntimeError(f"none of the users {', '.join(OWNERS)} is there to run PostgreSQL as")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """The server that this process's tests share; each makes a database of its own."""
    directory = Path(tempfile.mkdtemp(prefix="mw-pg-"))
    try:
        server = Postgres(directory)
        server.start()
        yield server
        server.stop()
    finally:
        shutil.rmtree(directory, ignore_errors=True)
