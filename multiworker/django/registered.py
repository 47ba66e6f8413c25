"""Task objects as handlers of a child."""

import logging
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from multiworker.django import compat
from multiworker.django.backend import TaskBackend
from multiworker.django.options import Options
from multiworker.django.running import Observer, function_of
from multiworker.django.task import find_all
from multiworker.worker.errors import HandlerImportError
from multiworker.worker.registry import Handler


def handlers(after: str) -> dict[str, Handler]:
    """Return a handler for every Task object of the modules that are imported, by the path that payloads name it by.

    Args:
        after: as registry.load() has it.

    Raises:
        HandlerImportError: the settings of a backend cannot be.
    """
    logger = logging.getLogger(compat.LOGGER)
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.WARNING)  # Django logs two lines for each task that goes well
    return {path: _handler(task) for path, task in find_all(after).items()}


def _handler(task: Any) -> Handler:
    backend = task.get_backend()
    options, sender = Options(), TaskBackend
    if isinstance(backend, TaskBackend):
        try:
            backend.require_sound()
        except ImproperlyConfigured as error:
            raise HandlerImportError(str(error)) from error
        options, sender = backend.settings, type(backend)
    return Handler(
        function_of(task),
        getattr(task, "max_attempts", None) or options.max_attempts,
        getattr(task, "timeout", None) or options.timeout,
        options.backoff,
        whole=True,
        observer=Observer(task, sender),
    )
