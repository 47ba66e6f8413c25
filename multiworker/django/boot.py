"""What a child does of Django before it takes tasks. The worker knows this module by an import string alone."""

import os
from dataclasses import replace

import django

from multiworker.django import connections
from multiworker.django.discovery import task_handlers
from multiworker.django.handlers import find_handlers
from multiworker.worker.errors import HandlerImportError
from multiworker.worker.registry import Handler, Registry
from multiworker.worker.settings import Settings


def prepare(settings: Settings, after: str = "") -> Registry:
    """Set Django up, find the handlers, and have each of them look after its database connections.

    Args:
        settings: the parent's; ``--settings`` names the project's settings module.
        after: as load().

    Returns:
        The registry.

    Raises:
        HandlerImportError: the project or a handler does not import.
    """
    os.environ["DJANGO_SETTINGS_MODULE"] = str(settings.settings)
    try:
        django.setup()
    except (Exception, SystemExit) as error:
        raise HandlerImportError(f"--settings {settings.settings}: {type(error).__name__}: {error}") from error
    found = find_handlers(settings.handler, after)
    connections.hang_up()
    tasks = task_handlers(after)
    catch_all = _careful(found.catch_all) if found.catch_all else None
    by_type = {kind: _careful(one) for kind, one in (found.by_type | tasks).items()}
    return Registry(by_type, catch_all, calls=bool(tasks))


def _careful(handler: Handler) -> Handler:
    return replace(handler, function=connections.careful(handler.function))
