"""How soon a child that died is forked again. Pure: time and chance are handed in."""

from dataclasses import dataclass, field

FIRST, FACTOR, CAP = 0.1, 1.5, 30.0
"""Seconds before a second quick death is followed by a fork; its growth; and the longest wait (einhorn's curve)."""
JITTER = 0.2
"""The wait varies by so much either way."""
GIVE_UP = 60.0
"""Seconds of crashes without a useful child after which the parent gives up."""
BUDGET_WINDOW = 10.0
"""Seconds in which the fork budget refills by one fork for each wanted child."""
LEAST_BURST = 6.0
"""Forks in a burst that one or two children get: a template, three boots that fail, and what was killed meanwhile."""


@dataclass
class Slots:
    """Back-off of each slot, and a budget over all: outside kills of good children never look like a crash loop."""

    failures: dict[int, int] = field(default_factory=dict)
    not_before: dict[int, float] = field(default_factory=dict)
    tokens: float = 0.0
    filled_at: float = 0.0

    def died(self, slot: int, now: float, random: float, *, useful: bool) -> None:
        """Note a death.

        Args:
            slot: where the child ran.
            now: monotonic seconds.
            random: a number in [0, 1).
            useful: it had become ready and settled a task: its slot starts afresh, and the budget gets its fork back.
        """
        if useful:
            self.failures[slot] = 0
            self.not_before[slot] = now
            self.tokens += 1
            return
        count = self.failures[slot] = self.failures.get(slot, 0) + 1
        wait = 0.0 if count == 1 else min(CAP, FIRST * FACTOR ** min(count - 2, 40))
        self.not_before[slot] = now + wait * (1 + JITTER * (2 * random - 1))

    def forget(self) -> None:
        """Start afresh: new code deserves a new chance."""
        self.failures.clear()
        self.not_before.clear()

    def refill(self, wanted: int, now: float) -> None:
        """Let the fork budget grow: a burst of twice the wanted children, one for each in BUDGET_WINDOW seconds."""
        burst = max(LEAST_BURST, 2.0 * wanted)
        if self.filled_at == 0.0:
            self.tokens = burst
        self.tokens = min(burst, self.tokens + (now - self.filled_at) * wanted / BUDGET_WINDOW)
        self.filled_at = now

    def may_fork(self, slot: int, now: float) -> bool:
        """Tell whether a slot may be filled now."""
        return self.tokens >= 1 and now >= self.not_before.get(slot, 0.0)

    def forked(self) -> None:
        """Take a fork from the budget."""
        self.tokens -= 1

    def left(self) -> None:
        """Give a fork back to the budget: a child that had been ready left in order."""
        self.tokens += 1


@dataclass
class Patience:
    """How long crashes or failed forks go on without anybody doing useful work; Redis being away is no crash.

    Args:
        crashed: there was a crash, and no sign since then that things are well.
        since: monotonic seconds of that crash.
    """

    crashed: bool = False
    since: float = 0.0

    def died(self, now: float, *, useful: bool) -> None:
        """Note the end of a child.

        Args:
            now: monotonic seconds.
            useful: it had done what it was there for, so this is no crash loop.
        """
        if useful:
            self.well()
        elif not self.crashed:
            self.since, self.crashed = now, True

    def well(self) -> None:
        """Note that somebody works, or that all that is missing is Redis."""
        self.crashed = False

    def over(self, now: float) -> bool:
        """Tell whether it is time to give up."""
        return self.crashed and now - self.since > GIVE_UP
