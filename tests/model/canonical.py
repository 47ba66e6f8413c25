"""One state for all that differ only in the names of lives, request numbers and items.

Nothing in the protocol tells two workers or two items apart, and of request numbers only the order within one life
counts. So what holds of one of these states holds of all, and the checker looks at one.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import permutations

from tests.model.world import Delivery, Hash, Held, Life, Nothing, Process, Reply, Request, Run, State, Wire

NOBODY = Life()


def canonical(state: State, *, numbers_count: bool = True) -> State:
    """Return the state that stands for this one.

    Args:
        state: any.
        numbers_count: a request with an old number does nothing, so a late one may be forgotten.
    """
    lives = [_tidy(life, numbers_count=numbers_count) for life in state.lives]
    lives = sorted([life for life in lives if life != NOBODY])
    state = state._replace(lives=tuple(lives))
    others = [_with_items(state, items) for items in _permutations(len(state.starts))]
    return min(state, *others) if others else state


@cache
def _permutations(items: int) -> list[tuple[int, ...]]:
    """Return all but the one that changes nothing."""
    return list(permutations(range(items)))[1:]


@cache
def _tidy(life: Life, *, numbers_count: bool) -> Life:
    late = tuple([request for request in life.late if _has_effect(request, life, numbers_count=numbers_count)])
    redis = life.hash
    if not life.process and redis:
        redis = redis._replace(lease="good")  # nobody is there to be wronged
    life = life._replace(late=late, hash=redis)
    numbers = sorted({0, *_numbers(life)})
    return _Naming(numbers={number: rank for rank, number in enumerate(numbers)}).life(life)


def _has_effect(request: Request, life: Life, *, numbers_count: bool) -> bool:
    """Tell whether a late request can still do anything."""
    if request.kind not in ("step", "reconcile") or request.waits:
        return True
    if life.hash:
        return not numbers_count or request.number > life.hash.number
    if life.process and not life.process.registered:
        return True
    return any(other.kind == "register" for other in life.late)


def _numbers(life: Life) -> Iterator[int]:
    """Yield every request number that a life has in it."""
    deliveries: list[Delivery] = []
    requests = list(life.late)
    if life.process:
        yield life.process.number
        deliveries += [run.delivery for run in life.process.known]
        for wire in (life.process.steps, life.process.waits):
            if isinstance(wire, Reply):
                yield wire.number
                deliveries += [*wire.deliveries, *wire.gone]
                requests.append(wire.request)
            elif wire:
                requests.append(wire)
    if life.hash:
        yield life.hash.number
        deliveries += [held.delivery for held in life.hash.held]
    for request in requests:
        yield request.number
        deliveries += [*request.acks, *request.retries, *request.known]
    for delivery in deliveries:
        yield delivery.claim


def _with_items(state: State, items: tuple[int, ...]) -> State:
    """Return the state with other names for the items: the place in `items` is the old name."""

    def renamed(old: tuple[int, ...]) -> tuple[int, ...]:
        return tuple([items[item] for item in old])

    starts = dict(zip(items, state.starts, strict=True))
    return state._replace(
        lives=tuple(sorted([_life_with_items(life, items) for life in state.lives])),
        queue=renamed(state.queue),
        handoff=renamed(state.handoff),
        scheduled=renamed(state.scheduled),
        done=tuple(sorted(renamed(state.done))),
        starts=tuple([starts[item] for item in range(len(items))]),
    )


@cache
def _life_with_items(life: Life, items: tuple[int, ...]) -> Life:
    return _Naming(items=dict(enumerate(items))).life(life)


@dataclass(frozen=True)
class _Naming:
    """Gives numbers or items other names, all through a life; None leaves them."""

    numbers: dict[int, int] | None = None
    items: dict[int, int] | None = None

    def life(self, life: Life) -> Life:
        return life._replace(
            process=self._process(life.process),
            hash=self._hash(life.hash),
            late=tuple(sorted([self._request(request) for request in life.late])),
            handoff=tuple([self._item(item) for item in life.handoff]),
        )

    def _process(self, process: Process | Nothing) -> Process | Nothing:
        if not process:
            return ()
        known = sorted([Run(self._delivery(run.delivery), run.state) for run in process.known])
        return process._replace(
            number=self._number(process.number),
            known=tuple(known),
            steps=self._wire(process.steps),
            waits=self._wire(process.waits),
        )

    def _hash(self, redis: Hash | Nothing) -> Hash | Nothing:
        if not redis:
            return ()
        held = sorted([Held(self._delivery(held.delivery), held.started) for held in redis.held])
        return redis._replace(number=self._number(redis.number), held=tuple(held))

    def _wire(self, wire: Wire) -> Wire:
        if isinstance(wire, Reply):
            return Reply(
                wire.status,
                self._request(wire.request),
                self._deliveries(wire.deliveries),
                self._deliveries(wire.gone),
                self._number(wire.number),
            )
        return self._request(wire) if wire else ()

    def _request(self, request: Request) -> Request:
        return request._replace(
            number=self._number(request.number),
            acks=self._deliveries(request.acks),
            retries=self._deliveries(request.retries),
            known=self._deliveries(request.known),
        )

    def _deliveries(self, deliveries: Iterable[Delivery]) -> tuple[Delivery, ...]:
        return tuple(sorted([self._delivery(delivery) for delivery in deliveries]))

    def _delivery(self, delivery: Delivery) -> Delivery:
        return Delivery(self._item(delivery.item), self._number(delivery.claim))

    def _number(self, number: int) -> int:
        return number if self.numbers is None else self.numbers[number]

    def _item(self, item: int) -> int:
        return item if self.items is None else self.items[item]
