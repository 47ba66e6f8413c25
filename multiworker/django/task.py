"""The Task objects of our backend, and how they are found again by the path that stands in a payload or a result."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from multiworker.django import compat
from multiworker.worker.registry import imported


@dataclass(frozen=True, slots=True, kw_only=True)
class Task(compat.Task):
    """A task of multiworker's backend.

    Args:
        max_attempts: how often it may run; None takes the backend's ``MAX_ATTEMPTS``.
        timeout: seconds that a run may take; None takes the backend's ``TIMEOUT``.
    """

    max_attempts: int | None = None
    timeout: float | None = None


def find(path: str) -> Any:
    """Return the Task object at a path; None if there is none.

    Nothing is imported, and nothing but a Task object is returned: a path may come from anybody.

    Args:
        path: module and qualified name of the task's function.
    """
    names = path.split(".")
    for cut in range(len(names) - 1, 0, -1):
        found: Any = sys.modules.get(".".join(names[:cut]))
        if found is None:
            continue
        for name in names[cut:]:
            found = _namespace(found).get(name)
        return found if _is_a(found, compat.Task) and found.module_path == path else None
    return None


def find_all(after: str = "") -> dict[str, Any]:
    """Return every Task object of the modules that are imported, by its path; only those that are found there.

    Args:
        after: as registry.load() has it.
    """
    tasks = {
        value.module_path
        for name in imported(after)
        for value in _values(sys.modules[name])
        if _is_a(value, compat.Task)
    }
    return {path: task for path in sorted(tasks) if (task := find(path))}


def _values(module: Any) -> list[Any]:
    """Return what stands in a module, and in the classes that it defines: tasks may be static methods of them."""
    values = list(_namespace(module).values())
    name = _namespace(module).get("__name__")
    inner = [_namespace(one) for one in values if _is_a(one, type)]
    return values + [value for names in inner if names.get("__module__") == name for value in names.values()]


def _namespace(thing: Any) -> Mapping[str, Any]:
    """Return what a module or a class defines; nothing for anything else."""
    if _is_a(thing, ModuleType) or _is_a(thing, type):
        names: Mapping[str, Any] = thing.__dict__
        return names
    return {}


def _is_a(thing: Any, kind: type) -> bool:
    """Do as isinstance() does, but without asking the object: a lazy one would be made for that, which may fail."""
    return issubclass(type(thing), kind)
