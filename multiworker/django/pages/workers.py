"""The page of the workers on all hosts, by what they say of themselves."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from django.http import HttpRequest

from multiworker.django.pages.base import PageAdmin, client
from multiworker.django.pages.names import queues
from multiworker.worker.watch import MOST_WORKERS, Card, CardTask, Watcher, Worker

STATES = {
    "connect": "connecting",
    "ready": "ready",
    "quiet": "quiet",
    "drain": "draining",
    "settled": "leaving",
}
"""State on a card -> what people read."""
SILENT = "silent"
"""A worker that Redis knows and that has said nothing lately."""


@dataclass(slots=True)
class Child:
    """A worker with what it says in all its queues.

    Args:
        id: its id.
        lease: seconds until others may have its tasks; negative if it is over.
        card: of one of its queues; None if it is silent.
        card_age: seconds since then.
        held: tasks that it holds.
        running: tasks that it runs.
        queues: that it serves.
        tasks: some of those that it runs, with their queues.
    """

    id: str
    lease: float
    card: Card | None
    card_age: float
    held: int = 0
    running: int = 0
    queues: list[str] = field(default_factory=list)
    tasks: list[tuple[str, CardTask]] = field(default_factory=list)

    @property
    def state(self) -> str:
        """What it is about."""
        return STATES.get(self.card.state, "unknown") if self.card else SILENT

    @property
    def load(self) -> str:
        """Its share of a core, in per cent."""
        return f"{100 * self.card.load:.0f} %" if self.card else ""

    @property
    def unnamed(self) -> int:
        """How many more tasks it runs."""
        return max(0, self.running - len(self.tasks))


@dataclass(frozen=True, slots=True)
class Parent:
    """The children of one parent.

    Args:
        host: its host's name; empty for workers that are silent.
        pid: its process id there.
        name: of the instance.
        children: its workers.
    """

    host: str
    pid: int
    name: str
    children: list[Child]

    @property
    def rss(self) -> int:
        """Resident memory of all of them, in bytes."""
        return sum(child.card.rss for child in self.children if child.card)

    @property
    def running(self) -> int:
        """Tasks that they run."""
        return sum(child.running for child in self.children)


class WorkerAdmin(PageAdmin):
    """The page of the workers."""

    part = "workers"
    heading = "Workers"

    def facts(self, request: HttpRequest) -> Mapping[str, Any]:  # noqa: ARG002 - as the others
        """Return the workers, by parent."""
        children, more = find()
        parents = [
            Parent(host, pid, name, list(group))
            for (host, name, pid), group in groupby(children, lambda child: _parent(child.card or Card()))
        ]
        running = sum(child.running for child in children)
        return {"parents": parents, "children": children, "running": running, "more": more, "most": MOST_WORKERS}


def find() -> tuple[list[Child], int]:
    """Return the workers of all queues, and how many there are beyond those."""
    found: dict[str, Child] = {}
    beyond = 0
    for queue in queues():
        count, workers = Watcher(client().ask, queue).workers()
        beyond = max(beyond, count - len(workers))
        for worker in workers:
            _add(found, queue, worker)
    return sorted(found.values(), key=_place), beyond


def _add(found: dict[str, Child], queue: str, worker: Worker) -> None:
    child = found.setdefault(worker.id, Child(worker.id, worker.lease, worker.card, worker.card_age))
    child.queues.append(queue)
    child.held += worker.held
    child.lease = min(child.lease, worker.lease)
    if worker.card:
        child.card = child.card or worker.card
        child.running += worker.card.running
        child.tasks += [(queue, task) for task in worker.card.tasks]


def _parent(card: Card) -> tuple[str, str, int]:
    return card.host, card.name, card.parent


def _place(child: Child) -> tuple[Any, ...]:
    card = child.card or Card()
    return child.card is None, _parent(card), card.slot, card.generation, child.id
