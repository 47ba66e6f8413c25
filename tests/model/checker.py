"""Looks at every state that can be reached, breadth first, so that a counterexample is as short as can be."""

import time
from array import array
from collections import Counter, deque
from collections.abc import Iterator
from itertools import chain
from typing import NamedTuple

from tests.model import duties, faults, server, worker
from tests.model.canonical import canonical
from tests.model.flaws import Flaw
from tests.model.world import Move, State, World

NOT_ONE_PLACE = "an item is not in exactly one place"
STRANDED = "an item can never be done, though nothing more goes wrong"
IGNORING_NUMBERS = (Flaw.NO_NUMBER, Flaw.SERVER_CHOOSES_NUMBER, Flaw.REGISTERS_AGAIN)
"""Flaws with which a request that has an old number can be carried out."""


class Violation(NamedTuple):
    """A broken property, and the shortest way to it."""

    what: str
    trace: list[str]

    def __str__(self) -> str:
        return "\n".join([self.what, *(f"{number:4}. {line}" for number, line in enumerate(self.trace, 1))])


class Verdict(NamedTuple):
    """What the checker found.

    Args:
        states: how many it looked at.
        seconds: that it took.
        violations: one of each kind.
    """

    states: int
    seconds: float
    violations: list[Violation]


class _Explored(NamedTuple):
    states: list[State]
    parents: "array[int]"
    """State -> the one from which it was first reached; -1 for the first."""
    owed: "tuple[array[int], array[int]]"
    """From and to, of every move that needs no luck, good or bad."""


def check(world: World, stop_at: str | None = None) -> Verdict:
    """Look at every state of a world.

    Args:
        world: what can happen.
        stop_at: a violation that ends the search when it is found; by default there is none.

    Returns:
        The verdict; with nothing in `violations`, every property holds within the bounds.
    """
    began = time.perf_counter()
    found: dict[str, int] = {}
    explored = _explore(world, found, stop_at)
    if stop_at not in found:
        stranded = _stranded(world, explored)
        if stranded is not None:
            found[STRANDED] = stranded
    violations = [Violation(what, _retell(world, explored, number)) for what, number in found.items()]
    return Verdict(len(explored.states), time.perf_counter() - began, violations)


def moves(world: World, state: State) -> Iterator[Move]:
    """Yield all that can happen next."""
    return chain(
        worker.moves(world, state), server.moves(world, state), duties.moves(world, state), faults.moves(world, state)
    )


def _canonical(world: World, state: State) -> State:
    return canonical(state, numbers_count=world.flaw not in IGNORING_NUMBERS)


def _explore(world: World, found: dict[str, int], stop_at: str | None) -> _Explored:
    first = _canonical(world, world.start())
    states, parents, sources, targets = [first], array("l", [-1]), array("l"), array("l")
    numbers = {first: 0}
    for number, state in enumerate(states):  # which grows meanwhile
        if wrong := _what_is_wrong(world, state):
            found.setdefault(wrong, number)
            if wrong == stop_at:
                break
            continue
        for move in moves(world, state):
            reached = _canonical(world, move.state)
            target = numbers.setdefault(reached, len(states))
            if target == len(states):
                states.append(reached)
                parents.append(number)
            if move.owed:
                sources.append(number)
                targets.append(target)
    return _Explored(states, parents, (sources, targets))


def _what_is_wrong(world: World, state: State) -> str:
    if state.wrong:
        return state.wrong
    places = Counter(chain(state.queue, state.handoff, state.scheduled, state.done))
    for life in state.lives:
        places.update(life.handoff)
        if life.hash:
            places.update([held.delivery.item for held in life.hash.held])
    return "" if places == Counter(range(world.items)) else NOT_ONE_PLACE


def _stranded(world: World, explored: _Explored) -> int | None:
    """Return the first state from which the end is out of reach; found by walking back from all ends."""
    sources, targets = explored.owed
    before: list[list[int]] = [[] for _ in explored.states]
    for source, target in zip(sources, targets, strict=True):
        before[target].append(source)
    good = bytearray(len(explored.states))
    walk = deque(
        number for number, state in enumerate(explored.states) if state.wrong or len(state.done) == world.items
    )
    for number in walk:
        good[number] = 1
    while walk:
        for number in before[walk.popleft()]:
            if not good[number]:
                good[number] = 1
                walk.append(number)
    place = good.find(0)
    return None if place < 0 else place


def _retell(world: World, explored: _Explored, number: int) -> list[str]:
    """Tell how a state comes about, with the names that workers and requests would have."""
    path = []
    while number >= 0:
        path.append(explored.states[number])
        number = explored.parents[number]
    state, lines = world.start(), []
    for wanted in path[-2::-1]:
        step = next(move for move in moves(world, state) if _canonical(world, move.state) == wanted)
        state = step.state
        lines.append(step.what)
    return lines
