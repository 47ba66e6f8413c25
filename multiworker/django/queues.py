"""What the engine is told of a project: the setting, and the lists of its django.tasks backends."""

import importlib
from collections.abc import Iterator, Mapping
from typing import Any

import django
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from multiworker.django import conf
from multiworker.worker.client import QUEUE
from multiworker.worker.errors import SettingsError

_BACKEND = "multiworker.django.backend"


def given() -> dict[str, Any]:
    """Return what Django says of the engine, by field of Settings, as it stands there.

    If ``MULTIWORKER`` names no lists, all those are served to which the project can send.

    Raises:
        SettingsError: one line, naming the key.
    """
    found = conf.given()
    if "queue" not in found and (lists := backend_lists()):
        found["queue"] = lists
    return found


def backend_lists() -> list[str]:
    """Return the lists of multiworker's backends in ``TASKS``, in order, and ``async_tasks``; nothing without any.

    Raises:
        SettingsError: a backend's settings cannot be.
    """
    found: dict[str, None] = {}
    for alias, entry in _ours():
        try:
            backend = _backend()(alias, entry)
            backend.require_sound()
        except ImproperlyConfigured as error:
            raise SettingsError(str(error)) from None
        found |= dict.fromkeys(backend.lists())
    return [*(found | {QUEUE: None})] if found else []


def _backend() -> Any:
    """Import the backend, which needs django.tasks: a project without tasks need not have that."""
    return importlib.import_module(_BACKEND).TaskBackend


def _ours() -> Iterator[tuple[str, Mapping[str, Any]]]:
    for alias, entry in getattr(settings, "TASKS", {}).items():
        path = str(entry.get("BACKEND", ""))
        if path.startswith("multiworker.") or (not path.startswith(("django.", "django_tasks.")) and _is_ours(path)):
            yield alias, entry


def _is_ours(path: str) -> bool:
    """Tell whether a backend of the project's own is one of multiworker's underneath."""
    try:
        found = import_string(path)
    except Exception:  # noqa: BLE001 - it may need the apps, which whoever only reads settings has not loaded
        django.setup()
        found = import_string(path)
    return isinstance(found, type) and issubclass(found, _backend())
