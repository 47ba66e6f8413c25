"""A pytest plugin: a virtual environment with nothing in it, for commands that are typed into it as a user would."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.system.fix_system import system_processes

ROOT = Path(__file__).parents[2]
NOT_SOURCE = (".git", ".venv*", ".*_cache", "__pycache__", ".coverage*", ".hypothesis", "dist", "htmlcov", "var")
INDEX_TIME = 240.0
"""Seconds for a command that fetches packages from an index."""


class Clean:
    """A virtual environment, and a shell in a directory of its own.

    Args:
        directory: for all of it.
        wheel: of multiworker, which pip takes instead of a released one.
        url: of the Redis.
    """

    def __init__(self, directory: Path, wheel: Path, url: str) -> None:
        self.home = directory / "home"
        self.home.mkdir()
        self.log_file = directory / "log"
        subprocess.run([sys.executable, "-m", "venv", directory / "venv"], check=True)
        self.programs = directory / "venv" / "bin"
        constraint = directory / "constraint.txt"
        constraint.write_text(f"multiworker == {wheel.name.split('-')[1]}\n")
        runtime = directory / "runtime"
        runtime.mkdir()
        ours = ("PYTHON", "COVERAGE", "MULTIWORKER", "DJANGO", "VIRTUAL_ENV", "REDIS")
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)} | {
            "PATH": os.pathsep.join((str(self.programs), os.environ["PATH"])),
            "PIP_CONSTRAINT": str(constraint),
            "PIP_FIND_LINKS": f"{wheel.parent} {os.environ.get('PIP_FIND_LINKS', '')}",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "REDIS_URL": url,
            "RUNTIME_DIRECTORY": str(runtime),
        }
        self._began: list[subprocess.Popen[Any]] = []

    def type(self, line: str, **popen: Any) -> str:
        """Type a line into a shell and wait for its end, which must be good; return what it says."""
        where: dict[str, Any] = {"cwd": self.home, "env": self.environment} | popen
        done: subprocess.CompletedProcess[str] = subprocess.run(
            ["sh", "-c", line],
            **where,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=INDEX_TIME,
            check=False,
        )
        if done.returncode and "NewConnectionError" in done.stderr and not os.environ.get("CI"):
            pytest.skip("no package index can be reached")
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def begin(self, line: str, **popen: Any) -> subprocess.Popen[str]:
        """Type a line into a shell, whose output goes to the log, and go on."""
        how: dict[str, Any] = {"cwd": self.home, "env": self.environment} | popen
        with self.log_file.open("ab") as log:
            process = subprocess.Popen(
                ["sh", "-c", f"exec {line}"],
                **how,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        self._began.append(process)
        return process

    def log(self) -> str:
        """Return what was said by all that was begun."""
        return self.log_file.read_text()

    def close(self) -> None:
        """End everything at once."""
        for process in self._began:
            for one in system_processes():
                if one.session == process.pid and one.is_alive:
                    os.kill(one.pid, 9)
            process.wait()


@pytest.fixture(scope="session")
def own_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    shutil.copytree(ROOT, source, symlinks=True, ignore=shutil.ignore_patterns(*NOT_SOURCE))
    build: list[str | Path] = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, source]
    subprocess.run(build, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


@pytest.fixture
def clean(own_wheel: Path, redis_url: str) -> Iterator[Clean]:
    """An empty environment; all that was begun in it is gone after the test."""
    directory = Path(tempfile.mkdtemp(prefix="mw-"))
    made = Clean(directory, own_wheel, redis_url)
    try:
        yield made
    finally:
        made.close()
        shutil.rmtree(directory)
