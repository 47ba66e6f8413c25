"""Which lists in Redis are this project's queues."""

from multiworker.django import conf
from multiworker.django.queues import backend_lists


def queues() -> list[str]:
    """Return the lists that the workers serve and those that the backends in ``TASKS`` send to.

    Raises:
        SettingsError: a setting cannot be.
    """
    served = conf.engine_options().get("queue") or [conf.default_queue()]
    return list(dict.fromkeys([*served, *backend_lists()]))
