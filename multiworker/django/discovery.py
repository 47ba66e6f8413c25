"""What the tasks of django.tasks are to a child, also in projects that have none of them."""

import importlib
import sys

from multiworker.worker.registry import Handler

_SOURCES = {"django.tasks", "django_tasks"}


def task_handlers(after: str) -> dict[str, Handler]:
    """Return a handler for each Task object that the imported modules hold, by its path.

    Without an import of django.tasks there is none; so the package need not be installed then.

    Args:
        after: as registry.load() has it.

    Raises:
        HandlerImportError: the settings of a backend cannot be.
    """
    if not _SOURCES & sys.modules.keys():
        return {}
    found: dict[str, Handler] = importlib.import_module("multiworker.django.registered").handlers(after)
    return found
