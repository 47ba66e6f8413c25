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
globals().update(json.loads((HERE / "settings.json").read_text()))
SECRET_KEY = "known to everybody"
INSTALLED_APPS = ["multiworker.django", "shop.apps.ShopConfig"]
USE_TZ = True
"""
APPS = """
from django.apps import AppConfig
from django.conf import settings
from django.db import connection

class ShopConfig(AppConfig):
    name = "shop"

    def ready(self):
        if getattr(settings, "CONNECT_ON_IMPORT", False):
            connection.ensure_connection()
"""
TASKS = """
import h  # of the directory in which manage.py lies
import multiworker
from asgiref.sync import sync_to_async
from django.db import connection

def session(seconds):
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(%s)", [seconds])
        cursor.execute("SELECT pg_backend_pid(), count(*) FROM pg_stat_activity WHERE datname = current_database()")
        return cursor.fetchone()

@multiworker.handler("session")
def ask(data):
    h.note("session %s of %s" % session(data["seconds"]), data["n"])

@multiworker.handler("asession")
async def aask(data):
    h.note("session %s of %s" % await sync_to_async(session)(data["seconds"]), data["n"])

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
            "shop/apps.py": APPS,
            "shop/async_tasks.py": TASKS,
        }.items():
            path = self.directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self.manage = [sys.executable, str(self.directory / "manage.py")]
        sqlite = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(self.directory / "db.sqlite3")}
        self._settings: dict[str, Any] = {"DATABASES": {"default": sqlite}}
        self.set()

    def set(self, **setting: Any) -> None:
        """Write the setting MULTIWORKER anew; it names the catch-all and the Redis, unless told otherwise."""
        self.write(MULTIWORKER={"HANDLER": "h:run", "REDIS": self.engine.url} | setting)

    def write(self, **settings: Any) -> None:
        """Write settings anew, beside those that were written before."""
        self._settings |= settings
        (self.directory / "mysite" / "settings.json").write_text(json.dumps(self._settings))

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
