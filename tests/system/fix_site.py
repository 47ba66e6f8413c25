"""A pytest plugin: a Django project as users have them, with its manage.py, in a directory of its own."""

import json
import sys
from typing import Any

import pytest

from tests.system.fix_system import Answer, Engine, answer

MANAGE = """
import os, sys
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")
from django.core.management import execute_from_command_line
execute_from_command_line(sys.argv)
"""
SETTINGS = """
import json, os
from pathlib import Path
HERE = Path(__file__).parent
with (HERE / "imports").open("a") as file:
    file.write(f"{os.getpid()}\\n")
MULTIWORKER = json.loads((HERE / "multiworker.json").read_text())
SECRET_KEY = "known to everybody"
INSTALLED_APPS = ["multiworker.django", "shop"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": HERE / "db.sqlite3"}}
USE_TZ = True
"""
TASKS = """
import sys
from pathlib import Path
import h  # of the directory in which manage.py lies
import multiworker

@multiworker.handler("found")
async def found(data):
    h.note("start", data["n"])
    await h.do_hold(data)
    h.note("end", data["n"])
"""


class Site:
    """The project, and the engine that runs its tasks.

    Args:
        engine: not started yet; its directory is the project's.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.directory = engine.directory
        for name, text in {
            "manage.py": MANAGE,
            "mysite/__init__.py": "",
            "mysite/settings.py": SETTINGS,
            "shop/__init__.py": "",
            "shop/async_tasks.py": TASKS,
        }.items():
            path = self.directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self.manage = [sys.executable, str(self.directory / "manage.py")]
        self.set()

    def set(self, **setting: Any) -> None:
        """Write the setting MULTIWORKER anew; it names the catch-all and the Redis, unless told otherwise."""
        setting = {"HANDLER": "h:run", "REDIS": self.engine.url} | setting
        (self.directory / "mysite" / "multiworker.json").write_text(json.dumps(setting))

    def start(self, *options: str, procs: int = 1, wait: bool = True, **popen: Any) -> None:
        """Start `manage.py async_command`.

        Args:
            options: of the command.
            procs: how many children there will be.
            wait: until they are ready.
            popen: more for subprocess.Popen.
        """
        program = [*self.manage, "async_command"]
        self.engine.start(*options, procs=str(procs), wait=False, program=program, **popen)
        if wait:
            self.engine.until_ready(procs)

    def call(self, *arguments: str) -> Answer:
        """Run manage.py to its end, from elsewhere."""
        self.engine.command, before = self.manage, self.engine.command
        try:
            return answer(self.engine.begin(*arguments))
        finally:
            self.engine.command = before

    def importers(self) -> list[int]:
        """Return the pids of the processes that have imported the settings, in order."""
        path = self.directory / "mysite" / "imports"
        return [int(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture
def site(engine: Engine) -> Site:
    """A project whose engine uses the shared Redis server."""
    return Site(engine)
