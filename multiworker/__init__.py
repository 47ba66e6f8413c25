"""multiworker runs tasks from Redis lists on all cores, and loses none.

What stands in ``__all__`` is all there is to import. Each name is loaded when it is first used: the parent process,
which imports this package as well, needs neither Redis nor asyncio.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from multiworker.worker.client import aenqueue, aenqueue_many, enqueue, enqueue_many
    from multiworker.worker.context import Current, current
    from multiworker.worker.errors import (
        EncodeError,
        HandlerTimeout,
        MultiworkerError,
        NotConfirmed,
        RedisUnavailable,
        Reject,
        Retry,
        SettingsError,
    )
    from multiworker.worker.registry import handler

    __version__: str
else:

    def __getattr__(name: str) -> Any:
        """Load a public name when it is first used."""
        if name == "__version__":
            # Loaded only here: it takes 4 MiB, which the parent would keep for life.
            value: Any = importlib.import_module("importlib.metadata").version("multiworker")
        elif name in _HOME:
            value = getattr(importlib.import_module(_HOME[name]), name)
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = value
        return value


__all__ = [
    "Current",
    "EncodeError",
    "HandlerTimeout",
    "MultiworkerError",
    "NotConfirmed",
    "RedisUnavailable",
    "Reject",
    "Retry",
    "SettingsError",
    "__version__",
    "aenqueue",
    "aenqueue_many",
    "current",
    "enqueue",
    "enqueue_many",
    "handler",
]

_MODULES = {
    "client": ("aenqueue", "aenqueue_many", "enqueue", "enqueue_many"),
    "context": ("Current", "current"),
    "errors": (
        "EncodeError",
        "HandlerTimeout",
        "MultiworkerError",
        "NotConfirmed",
        "RedisUnavailable",
        "Reject",
        "Retry",
        "SettingsError",
    ),
    "registry": ("handler",),
}
_HOME = {name: f"multiworker.worker.{module}" for module, names in _MODULES.items() for name in names}


def __dir__() -> list[str]:
    """Name what there is to import."""
    return sorted({*globals(), *__all__})
