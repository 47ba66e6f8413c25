"""When a child is due for replacement."""

import random
import time

from multiworker.worker.host import resident_bytes
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
        return bool(self._memory and resident_bytes() >= self._memory)
