"""Fixtures of the pages' tests: people with rights, and dead letters by the workers' own scripts."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from django.conf import settings
from django.contrib.auth.models import Permission, User
from django.test import Client as Browser
from django.test import override_settings

from multiworker.worker.client import Client
from multiworker.worker.errors import Reason
from tests.broker.dying import Worker

RIGHTS = (
    *("view_queue", "view_worker", "view_deadletter", "view_task"),
    *("requeue_deadletter", "discard_deadletter"),
)
HOSTILE = '<script>document.title="owned"</script><img src=x onerror=\'document.title="owned"\'>"\'&\x1b[31m\u202e'
"""A text that tries to be more than text."""


@pytest.fixture
def person(database: Path) -> Callable[..., User]:
    """Makes people of the admin: staff with the rights that are named."""

    def make(*rights: str, **fields: Any) -> User:
        user = User.objects.create_user(f"person-{User.objects.count()}", password="secret", is_staff=True)
        user.user_permissions.set(Permission.objects.filter(content_type__app_label="multiworker", codename__in=rights))
        for name, value in fields.items():
            setattr(user, name, value)
        user.save()
        return user

    return make


@pytest.fixture
def one_queue(project: str) -> Iterator[str]:
    """The project has one queue, async_tasks. The Redis URL."""
    with override_settings(TASKS={}, MULTIWORKER={**settings.MULTIWORKER, "QUEUE": ["async_tasks"]}):
        yield project


@pytest.fixture
def browse(one_queue: str, person: Callable[..., User]) -> Browser:
    """A client that has all rights on the pages."""
    client = Browser()
    client.force_login(person(*RIGHTS))
    return client


@pytest.fixture
def sender(one_queue: str, redis_client: "redis.Redis") -> Iterator[Client]:
    """Sends tasks."""
    client = Client(one_queue)
    yield client
    client.close()


@pytest.fixture
def kill(sender: Client) -> Callable[..., None]:
    """Sends tasks, by type and data, which die at once."""
    count = iter(range(1000))

    def make(*tasks: tuple[str, Any], reason: Reason = Reason.EXHAUSTED, detail: str = "Traceback\n  boom") -> None:
        sender.enqueue_many(tasks)
        worker = Worker(sender._caller.ask, f"killer-{next(count)}")
        worker.bury([delivery for delivery, _ in worker.claim()], reason, detail)

    return make
