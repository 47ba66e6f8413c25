"""Puts the pages into Django's admin.

A project with an AdminSite of its own that is not ``default_site`` calls ``register(site)``.
"""

from django.contrib import admin

from multiworker.django.models import DeadLetter, Queue, Task, Worker
from multiworker.django.pages.base import PageAdmin
from multiworker.django.pages.letters import DeadLetterAdmin
from multiworker.django.pages.queues import QueueAdmin
from multiworker.django.pages.tasks import TaskAdmin
from multiworker.django.pages.workers import WorkerAdmin

PAGES: dict[type, type[PageAdmin]] = {
    Queue: QueueAdmin,
    Worker: WorkerAdmin,
    DeadLetter: DeadLetterAdmin,
    Task: TaskAdmin,
}


def register(site: admin.AdminSite) -> None:
    """Put the pages into an admin site.

    Args:
        site: where they are not yet.
    """
    for model, page in PAGES.items():
        site.register(model, page)


register(admin.site)
