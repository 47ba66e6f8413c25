"""When a child is due for replacement."""

import random
import resource
import time

from multiworker.worker.ledger import Ledger
from multiworker.worker.settings import Settings


class Limits:
    """When this child is due for replacement; drawn up to 10 % early, so that siblings do not recycle together.

    Args:
        settings: the limits.
    """

    def __init__(self, settings: Settings) -> None:
        early = random.uniform(0.9, 1.0)  # noqa: S311 - jitter
        self._tasks = settings.max_tasks_per_child and max(1, int(settings.max_tasks_per_child * early))
        self._age_ends = settings.max_age_per_child and time.monotonic() + settings.max_age_per_child * early
        self._memory = settings.max_memory_per_child and settings.max_memory_per_child * early

    def reached(self, ledger: Ledger) -> bool:
        """Tell whether one of the limits is reached."""
        if self._tasks and ledger.claimed >= self._tasks:
            return True
        if self._age_ends and time.monotonic() >= self._age_ends:
            return True
        return bool(self._memory and _resident_bytes() >= self._memory)


def _resident_bytes() -> int:
    """Return this process's resident set, in bytes, from /proc/self/statm (proc(5): the second number, in pages)."""
    with open("/proc/self/statm", "rb") as statm:  # noqa: PTH123
        return int(statm.read().split()[1]) * resource.getpagesize()
