"""What is measured, and how the figures of a run are held against each other. Nothing here measures or prints."""

import math
import statistics
from dataclasses import dataclass, field

from bench.contenders import CONTENDERS, US

PEERS = tuple(contender.name for contender in CONTENDERS if contender.name != US)
RIVALS = tuple(contender.name for contender in CONTENDERS if contender.name != US and contender.keeps)
"""The peers that do not lose the tasks of a killed process."""


@dataclass(frozen=True)
class Kind:
    """What one figure is.

    Args:
        title: for a table.
        unit: of it.
        digits: after the point.
        low: less is better.
    """

    title: str
    unit: str
    digits: int = 0
    low: bool = False


KINDS = {
    "noop": Kind("no-op, 2 x 20", "tasks/s"),
    "wide": Kind("no-op, 2 x 200", "tasks/s"),
    "nap": Kind("10 ms await", "tasks/s"),
    "burn": Kind("1 ms CPU", "tasks/s"),
    "blob": Kind("100 KiB payloads", "tasks/s"),
    "burst": Kind("burst into idle workers", "tasks/s"),
    "p50": Kind("idle latency, p50", "ms", 2, low=True),
    "p99": Kind("idle latency, p99", "ms", 2, low=True),
    "single": Kind("enqueue one by one", "tasks/s"),
    "bulk": Kind("enqueue in bulk", "tasks/s"),
    "start": Kind("cold start to first task", "s", 2, low=True),
    "memory": Kind("memory idle", "MiB", 1, low=True),
    "memory_loaded": Kind("memory under load", "MiB", 1, low=True),
    "commands": Kind("commands when idle", "/s", 1, low=True),
    "restart": Kind("kill -9 to restart", "ms", low=True),
    "burn_alone": Kind("1 ms CPU, 1 x 20", "tasks/s"),
    "memory_preloaded": Kind("memory idle, --preload", "MiB", 1, low=True),
    "memory_django_child": Kind("one more child, --preload and Django", "MiB", 1, low=True),
    "flood": Kind("elements that are no tasks, with the start", "/s"),
    "flood_tasks": Kind("as many no-op tasks, with the start", "/s"),
    "backlog": Kind("tasks waiting in the long queue", "tasks"),
    "claim_short": Kind("claim of a task from 10,000", "us", 2, low=True),
    "claim_long": Kind("claim of a task from the long queue", "us", 2, low=True),
    "growth": Kind("growth of one child over the long queue", "MiB", 2, low=True),
}
"""By key, in the order of the tables."""


@dataclass(frozen=True)
class Bar:
    """A figure beside what is asked for.

    Args:
        name: of the figure.
        value: what was measured.
        limit: what is asked for.
        unit: of both.
        most: the limit is an upper one.
        goal: what would be better still.
    """

    name: str
    value: float
    limit: float
    unit: str = ""
    most: bool = False
    goal: float | None = None

    @property
    def passed(self) -> bool:
        """Whether it is met."""
        return self.value <= self.limit if self.most else self.value >= self.limit

    def __str__(self) -> str:
        side = "at most" if self.most else "at least"
        goal = f", goal {self.goal:g}{self.unit}" if self.goal is not None else ""
        word = "ok  " if self.passed else "MISS"
        return f"{word}  {self.name}: {self.value:.2f}{self.unit}, bar {side} {self.limit:g}{self.unit}{goal}"


@dataclass
class Run:
    """The figures of a run.

    Args:
        figures: by key, then by who; one for each round.
        failures: by who and load, what went wrong.
    """

    figures: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    failures: list[dict[str, str]] = field(default_factory=list)

    def add(self, who: str, found: dict[str, float]) -> None:
        """Note the figures of one measurement."""
        for key, value in found.items():
            self.figures.setdefault(key, {}).setdefault(who, []).append(value)

    def of(self, key: str, who: str = US) -> list[float]:
        """Return the figures of one of them, by round; none if it was not measured."""
        return self.figures.get(key, {}).get(who, [])

    def median(self, key: str, who: str = US) -> float:
        """Return the middle one.

        Raises:
            statistics.StatisticsError: it was not measured.
        """
        return statistics.median(self.of(key, who))

    def ratio(self, key: str, other: str, *, who: str = US) -> float | None:
        """Return the median of the ratios in each round, or None if either was not measured."""
        pairs = zip(self.of(key, who), self.of(key, other), strict=False)
        ratios = [mine / theirs for mine, theirs in pairs if theirs]
        return statistics.median(ratios) if ratios else None

    def best(self, key: str, among: tuple[str, ...]) -> str | None:
        """Name the best of some, or None if none was measured."""
        measured = [who for who in among if self.of(key, who)]
        choose = min if KINDS[key].low else max
        return choose(measured, key=lambda who: self.median(key, who), default=None)

    def ranked(self, key: str) -> list[tuple[str, float]]:
        """Return the contenders that were measured, with their medians, the best last; who has none is left out."""
        found = [(name, self.median(key, name)) for name in (US, *PEERS) if self.of(key, name)]
        numbers = [pair for pair in found if math.isfinite(pair[1])]
        return sorted(numbers, key=lambda pair: pair[1], reverse=KINDS[key].low)

    def finite(self, key: str, who: str) -> bool:
        """Tell whether all figures of one of them are numbers, as far as there are any."""
        return all(math.isfinite(value) for value in self.of(key, who))
