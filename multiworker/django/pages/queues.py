"""The page of the queues: what waits, what runs, and how it went in the last hour."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest

from multiworker.django.pages import charts, texts
from multiworker.django.pages.base import PageAdmin, client
from multiworker.django.pages.names import queues
from multiworker.worker.operate import Depths, Operator
from multiworker.worker.watch import Pulse, Watcher

NONE = "-"
"""Stands where there is nothing to tell."""


@dataclass(frozen=True, slots=True)
class QueueFacts:
    """What is shown of one queue.

    Args:
        name: the list's.
        depths: what lies where.
        pulse: what it did lately.
        waiting: tasks that could run now.
        age: of the oldest one, in words.
        charts: of the last hour.
    """

    name: str
    depths: Depths
    pulse: Pulse
    waiting: int
    age: str
    charts: list[charts.Chart]

    @property
    def half(self) -> str:
        """The time within which half of the recent runs ended, in words."""
        return _spoken(self.pulse.latency(0.5))

    @property
    def most(self) -> str:
        """The same of 95 %."""
        return _spoken(self.pulse.latency(0.95))


class QueueAdmin(PageAdmin):
    """The page of the queues."""

    part = "queues"
    heading = "Queues"

    def facts(self, request: HttpRequest) -> Mapping[str, Any]:  # noqa: ARG002 - as the others
        """Return what is shown of each queue."""
        return {"queues": [look(name) for name in queues()]}


def look(name: str) -> QueueFacts:
    """Return what is shown of one queue."""
    ask = client().ask
    depths, pulse = Operator(ask, name).depths(), Watcher(ask, name).pulse()
    waiting = depths.waiting + depths.handoff + depths.priority + depths.suspects
    drawn = [charts.ended(pulse), charts.latency(pulse), charts.waiting(pulse)]
    return QueueFacts(name, depths, pulse, waiting, _age(pulse, waiting), drawn)


def _age(pulse: Pulse, waiting: int) -> str:
    """Return how long the oldest task has waited; an estimate by depth and rate if its id does not tell."""
    if pulse.oldest is None:
        return NONE
    if pulse.oldest.since:
        return texts.duration((pulse.now - pulse.oldest.since).total_seconds())
    return f"≈ {texts.duration(waiting / pulse.rate)}" if pulse.rate else "unknown"


def _spoken(seconds: float | None) -> str:
    return NONE if seconds is None else texts.duration(seconds)
