"""Which generation is wanted, and which one to go back to. Pure: nothing is forked or read in here."""

from dataclasses import dataclass

from multiworker.worker.settings import Settings

FAILED_BOOTS = 3
"""Boots of a generation that may fail before it is abandoned."""
PAUSE = 1.0
"""Seconds between two reloads; what SIGHUPs ask for in between is done at once, after it."""


@dataclass(frozen=True, slots=True)
class Generation:
    """Children that run the same code and settings.

    Args:
        number: from 1.
        settings: what they go by.
    """

    number: int
    settings: Settings


class Reload:
    """The wanted generation, and the last one that had all its children ready.

    Args:
        settings: of the first generation.
    """

    def __init__(self, settings: Settings) -> None:
        self.wanted = Generation(1, settings)
        self.good: Generation | None = None
        self.asked = False
        self._last = 1
        self._failed_boots = 0
        self._begun_at = -PAUSE

    def due(self, now: float) -> bool:
        """Tell whether a reload has been asked for and may begin.

        Args:
            now: monotonic seconds.
        """
        return self.asked and now - self._begun_at >= PAUSE

    def begin(self, now: float, settings: Settings | None) -> None:
        """Begin a new generation; the old one stays until it is replaced.

        Args:
            now: monotonic seconds.
            settings: what it goes by; None if they could not be read, and everything stays as it is.
        """
        self.asked = False
        self._begun_at = now
        if settings is not None:
            self._last += 1
            self._failed_boots = 0
            self.wanted = Generation(self._last, settings)

    def boot_failed(self, generation: int) -> bool:
        """Note that a child of a generation died before it was ready.

        Returns:
            True if the wanted generation is abandoned for the last good one.
        """
        if self.good is None or generation != self.wanted.number or self.wanted is self.good:
            return False
        self._failed_boots += 1
        if self._failed_boots < FAILED_BOOTS:
            return False
        self.wanted = self.good
        return True

    def succeeded(self, ready: int, needed: int) -> bool:
        """Note how many children of the wanted generation are ready.

        Returns:
            True if it has just become the good one.
        """
        if self.wanted is self.good or ready < needed:
            return False
        self.good = self.wanted
        return True
