"""What a child does of Django before it takes tasks. The worker knows this module by an import string alone."""

import os

import django

from multiworker.worker.errors import HandlerImportError
from multiworker.worker.registry import Registry, load
from multiworker.worker.settings import Settings


def prepare(settings: Settings) -> Registry:
    """Set Django up and find the handlers.

    Args:
        settings: the parent's; ``--settings`` names the project's settings module.

    Returns:
        The registry.

    Raises:
        HandlerImportError: the project or a handler does not import.
    """
    os.environ["DJANGO_SETTINGS_MODULE"] = str(settings.settings)
    try:
        django.setup()
    except Exception as error:
        raise HandlerImportError(f"--settings {settings.settings}: {type(error).__name__}: {error}") from error
    return load(settings.handler)
