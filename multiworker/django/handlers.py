"""The handlers of a Django project: those of its installed apps, and those that the setting names."""

import importlib
from collections.abc import Iterable

from django.apps import apps
from django.utils.module_loading import module_has_submodule

from multiworker.worker.errors import HandlerImportError
from multiworker.worker.registry import Registry, load

MODULES = ("async_tasks", "tasks")
"""Modules of each installed app in which handlers and tasks are looked for."""


def find_handlers(specs: Iterable[str], after: str = "") -> Registry:
    """Import the task modules of every installed app, and collect what they declare.

    Args:
        specs: more handlers, as ``--handler`` names them.
        after: as load().

    Returns:
        The registry.

    Raises:
        HandlerImportError: a module does not import, a function is not there, or two handlers claim one type.
    """
    import_tasks()
    return load(specs, after)


def import_tasks() -> None:
    """Import the task modules of every installed app.

    Raises:
        HandlerImportError: one does not import.
    """
    for app in apps.get_app_configs():
        for name in MODULES:
            if app.module and module_has_submodule(app.module, name):
                _import(f"{app.name}.{name}")


def _import(module: str) -> None:
    try:
        importlib.import_module(module)
    except (Exception, SystemExit) as error:
        raise HandlerImportError(f"{module}: {type(error).__name__}: {error}") from error
