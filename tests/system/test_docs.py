"""Every command and program in the documentation, run as a reader would; and every list in it, complete."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from multiworker.worker.errors import Exit, Reason
from multiworker.worker.settings import OPTION_NAMES
from tests.fix_redis import RedisServer

ROOT = Path(__file__).parents[2]
DOCUMENTS = ("README.md", "README.zh-CN.md", "docs/guide.md")
SET_UP = ("make demo", "make test")
DONE = ("pip install multiworker",)
"""What a reader of this environment has typed already; tests/django/test_newcomer.py types it."""
WORKERS = ("multiworker start", "python manage.py async_command")
TIMEOUT = 60.0
"""Seconds until a command that does not end counts as broken."""


def blocks(document: str) -> Iterator[tuple[str, str]]:
    """Return language and text of each fenced block."""
    text = (ROOT / document).read_text("utf-8")
    return ((match[1], match[2]) for match in re.finditer(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))


def without_comments(text: str) -> str:
    """Return a block as it is for a machine: comments may be in another language."""
    return re.sub(r"\s*# .*", "", text)


class Reader:
    """Somebody who types what they read, in a directory of their own."""

    def __init__(self, home: Path, redis: RedisServer) -> None:
        self.home = home
        tools = home / "tools"
        tools.mkdir()
        redis_cli = shutil.which("redis-cli")
        (tools / "redis-cli").write_text(f'#!/bin/sh\nexec {redis_cli} -s {redis.socket} "$@"\n')
        (tools / "redis-cli").chmod(0o755)
        path = os.pathsep.join((str(tools), str(Path(sys.executable).parent), os.environ["PATH"]))
        self.environment = {**os.environ, "REDIS_URL": redis.url, "PATH": path}

    def read(self, language: str, text: str) -> None:
        """Do what a block says."""
        named = re.match(r"# ([\w./]+\.(py|toml))\n", text)
        if named:
            (self.home / named[1]).write_text(text)
        elif language == "python":
            self.run([sys.executable, "-c", text])
        elif language == "sh":
            for line in text.splitlines():
                self.type(line)

    def type(self, line: str) -> None:
        """Type one line into a shell; a worker is told to end when nothing is left."""
        if line in SET_UP:
            assert f"\n{line.removeprefix('make ')}:" in (ROOT / "Makefile").read_text()
            return
        if line in DONE:
            return
        line = line.replace("/tmp/", f"{self.home}/")
        if line.startswith(WORKERS) and "--burst" not in line:
            line += " --burst"
        self.run(["sh", "-c", line])

    def run(self, command: list[str]) -> None:
        """Run a command; it must succeed."""
        result = subprocess.run(
            command,
            cwd=self.home,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
        assert result.returncode == 0, f"{command[-1]}\n{result.stdout}\n{result.stderr}"
        assert "Traceback" not in result.stderr, result.stderr


@pytest.mark.parametrize("document", DOCUMENTS)
def test_what_a_document_says_works(document: str, tmp_path: Path, redis_server: RedisServer) -> None:
    # given a reader with a Redis of their own, and a dead letter for the commands that want one
    reader = Reader(tmp_path, redis_server)
    reader.type("redis-cli FLUSHALL")
    reader.type("redis-cli LPUSH async_tasks 'not a task'")
    # when they do all that it says, from top to bottom, then nothing fails
    for language, text in blocks(document):
        reader.read(language, text)


def test_the_two_readmes_say_the_same() -> None:
    english, chinese = ([(kind, without_comments(text)) for kind, text in blocks(name)] for name in DOCUMENTS[:2])
    assert english == chinese
    counts = [
        [len(re.findall(mark, (ROOT / name).read_text("utf-8"), re.MULTILINE)) for mark in (r"^#", r"^\|", r"^```")]
        for name in DOCUMENTS[:2]
    ]
    assert counts[0] == counts[1]


@pytest.mark.parametrize("reason", list(Reason))
def test_every_dead_letter_reason_is_explained(reason: Reason) -> None:
    assert f"| `{reason}` |" in (ROOT / "docs/operations.md").read_text()


@pytest.mark.parametrize("code", [code for code in Exit if code is not Exit.FENCED])  # only the parent sees that one
def test_every_exit_code_is_explained(code: Exit) -> None:
    assert f"| {int(code)} |" in (ROOT / "docs/operations.md").read_text()


def test_every_option_that_a_document_names_exists() -> None:
    others = {"help", "version", "config", "file", "yes", "all", "json", "redis", "wait", "pid", "max-age", "priority"}
    for document in (*DOCUMENTS, "docs/operations.md", "docs/protocol.md"):
        named = set(re.findall(r"--([a-z][a-z-]+)", (ROOT / document).read_text("utf-8")))
        unknown = {name for name in named if name.replace("-", "_") not in OPTION_NAMES} - others
        assert not unknown, document
