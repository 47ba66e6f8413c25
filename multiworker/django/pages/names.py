"""Which lists in Redis are this project's queues."""

from collections.abc import Iterator

from django.conf import settings

from multiworker.django import conf, options

_BACKEND = "multiworker.django"
"""What the path of a backend of ours begins with."""


def queues() -> list[str]:
    """Return the lists that the workers serve and those that the backends in ``TASKS`` send to.

    Raises:
        SettingsError: a setting cannot be.
    """
    served = conf.engine_options().get("queue", ())
    return list(dict.fromkeys([*(served or [conf.default_queue()]), *_sent_to()]))


def _sent_to() -> Iterator[str]:
    for alias, backend in getattr(settings, "TASKS", {}).items():
        if str(backend.get("BACKEND", "")).startswith(_BACKEND):
            lists = options.read(alias, backend.get("OPTIONS", {})).lists
            for name in backend.get("QUEUES", ["default"]):
                yield lists.get(name, options.LIST if name == "default" else name)
