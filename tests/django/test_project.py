"""The project of these tests itself."""

import threading
from pathlib import Path

from django.conf import settings
from django.db import connections

from tests.django.project.app.models import Note


def test_its_database_is_seen_by_all_threads(database: Path) -> None:
    def write() -> None:
        Note.objects.create(key="thread")
        connections.close_all()

    thread = threading.Thread(target=write)
    thread.start()
    thread.join()
    assert [note.key for note in Note.objects.all()] == ["thread"]


def test_its_redis_is_the_one_of_the_test(project: str) -> None:
    assert settings.MULTIWORKER["REDIS"] == project
