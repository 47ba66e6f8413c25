"""Which generation is wanted, and which one to go back to. Pure: nothing is forked or read in here."""

from dataclasses import dataclass
from enum import IntEnum

from multiworker.worker.settings import Settings

FAILED_BOOTS = 3
"""Boots of a generation that may fail, or deaths on trial, before it is abandoned."""
TRIAL = 1.0
"""Seconds that the first child of a new generation must live, ready, before any old one has to leave."""
PAUSE = 1.0
"""Seconds between two reloads; what SIGHUPs ask for in between is done at once, after it."""


class Outcome(IntEnum):
    """What became of a reload."""

    NONE = 0
    """None has come to its end."""
    LOADED = 1
    """All children run the new code and settings."""
    REFUSED = 2
    """The settings could not be read."""
    ABANDONED = 3
    """Its children could not boot, or died soon after."""


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

    Whoever asks gets a number. A reload answers all numbers given out before its settings were read; several may be
    answered by one, and one may overtake another, so `decided` and `loaded` say up to which number the answer is known
    and yes.

    Args:
        settings: of the first generation.
    """

    def __init__(self, settings: Settings) -> None:
        self.wanted = Generation(1, settings)
        self.good: Generation | None = None
        self.asked = 0
        """How often a reload has been asked for."""
        self.decided = 0
        """Up to which of these the outcome is known."""
        self.loaded = 0
        """Up to which of these all children have come to run what was on disk then, or later."""
        self.outcome = Outcome.NONE
        """Of the last reload that has been decided."""
        self.failure = ""
        """Why the last reload that failed did so."""
        self.begun = 0
        """Up to which of these a reload has begun, or was refused."""
        self._read: int | None = None
        self._wanted_for = 0
        self._last = 1
        self._failures = 0
        self._begun_at = -PAUSE
        self._on_trial_since: float | None = None
        self._proven = True

    @property
    def under_way(self) -> bool:
        """A generation is to take over from a good one."""
        return self.good is not None and self.wanted is not self.good

    def ask(self) -> int:
        """Ask for a reload.

        Returns:
            The number of this request.
        """
        self.asked += 1
        return self.asked

    def due(self, now: float) -> bool:
        """Tell whether a reload has been asked for and may begin.

        Args:
            now: monotonic seconds.
        """
        return self._read is None and self.asked > self.begun and now - self._begun_at >= PAUSE

    def read(self) -> None:
        """Note that settings are being read: who asks from now on may mean what comes too late for them."""
        self._read = self.asked

    def _answered(self) -> int:
        """Return up to which request the settings that have been read are an answer."""
        number = self.asked if self._read is None else self._read
        self._read = None
        return number

    def begin(self, now: float, settings: Settings) -> None:
        """Begin a new generation; the old one stays until it is replaced.

        Args:
            now: monotonic seconds.
            settings: what it goes by.
        """
        self.begun = self._wanted_for = self._answered()
        self._begun_at = now
        self._last += 1
        self._failures = 0
        self._proven, self._on_trial_since = False, None
        self.wanted = Generation(self._last, settings)

    def refuse(self, now: float, why: str) -> None:
        """Leave everything as it is: the settings could not be read. Another reload may be under way.

        Args:
            now: monotonic seconds.
            why: one line.
        """
        self.begun = self._answered()
        self._begun_at = now
        self.failure = why
        if self.wanted is self.good:
            self._decide(Outcome.REFUSED)

    @property
    def on_trial(self) -> bool:
        """A new generation has still to show that its children live: until then nobody leaves for them."""
        return self.under_way and not self._proven

    def watch(self, now: float, ready: int) -> None:
        """See how the trial goes.

        Args:
            now: monotonic seconds.
            ready: ready children of the wanted generation.
        """
        if not ready:
            self._on_trial_since = None
        elif self._on_trial_since is None:
            self._on_trial_since = now
        else:
            self._proven = self._proven or now - self._on_trial_since >= TRIAL

    def failed(self, generation: int, why: str, *, useful: bool) -> bool:
        """Note that a child of a generation died without having been told to leave.

        Args:
            generation: its number.
            why: one line.
            useful: it was good for something before; that does not count in favour of a generation on trial.

        Returns:
            True if the wanted generation is abandoned for the last good one.
        """
        if self.good is None or generation != self.wanted.number or self.wanted is self.good:
            return False
        if useful and not self.on_trial:
            return False
        self._failures += 1
        if self._failures < FAILED_BOOTS:
            return False
        self.wanted = self.good
        self.failure = why
        self._decide(Outcome.ABANDONED)
        return True

    def succeeded(self, ready: int, needed: int) -> bool:
        """Note how many children of the wanted generation are ready.

        Returns:
            True if it has just become the good one.
        """
        if self.wanted is self.good or ready < needed:
            return False
        self.good = self.wanted
        self.loaded = self._wanted_for
        if self.begun:
            self._decide(Outcome.LOADED if self._wanted_for == self.begun else Outcome.REFUSED)
        return True

    def _decide(self, outcome: Outcome) -> None:
        self.decided = self.begun
        self.outcome = outcome
