"""Sets the project up, once a process, when the first of these tests is collected."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

DIRECTORY = Path(tempfile.mkdtemp(prefix="mw-django-"))
os.environ["PROJECT_DATABASE"] = str(DIRECTORY / "db.sqlite3")
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.django.project.settings"

import django  # noqa: E402
from django.conf import settings  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import connections  # noqa: E402
from django.test import override_settings  # noqa: E402

django.setup()
del os.environ["DJANGO_SETTINGS_MODULE"]  # nothing that other tests start is to find it

from tests.django.fix_pages import browse, kill, one_queue, person, sender  # noqa: E402, F401 - models need the setup


@pytest.fixture(scope="session", autouse=True)
def _directory() -> Iterator[None]:
    """Remove the database's file at the end."""
    yield
    connections.close_all()
    shutil.rmtree(DIRECTORY, ignore_errors=True)


@pytest.fixture(scope="session")
def _tables(_directory: None) -> None:
    call_command("migrate", run_syncdb=True, verbosity=0)


@pytest.fixture
def database(_tables: None) -> Iterator[Path]:
    """The project's database, empty but for its tables: any thread and process may use it. Its file."""
    yield Path(os.environ["PROJECT_DATABASE"])
    call_command("flush", interactive=False, verbosity=0)
    connections.close_all()


@pytest.fixture
def project(redis_url: str) -> Iterator[str]:
    """The project speaks to the shared Redis server, whose databases are empty. Its URL."""
    with override_settings(MULTIWORKER={**settings.MULTIWORKER, "REDIS": redis_url}):
        yield redis_url
