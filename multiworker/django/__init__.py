"""multiworker in a Django project: ``INSTALLED_APPS = ["multiworker.django"]`` and one setting, ``MULTIWORKER``.

What stands in ``__all__`` sends tasks once the open transaction is committed. It is loaded when it is first used, for
this package is imported before Django is set up.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from multiworker.django.backend import TaskBackend
    from multiworker.django.producer import aenqueue, enqueue, enqueue_many
else:

    def __getattr__(name: str) -> Any:
        """Load a public name when it is first used."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(importlib.import_module(_HOME.get(name, "multiworker.django.producer")), name)
        return value


__all__ = ["TaskBackend", "aenqueue", "enqueue", "enqueue_many"]
_HOME = {"TaskBackend": "multiworker.django.backend"}
