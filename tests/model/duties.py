"""Upkeep, recover and the passing of time."""

from collections.abc import Iterator

from tests.model.flaws import Flaw
from tests.model.worker import excused
from tests.model.world import NOTHING, Hash, Life, Move, State, World

FENCED = "a living worker was declared dead, though its lease was good or nobody's was"


def moves(world: World, state: State) -> Iterator[Move]:
    """Let anybody do their duties, whenever they like: what recover asks for, it asks itself."""
    for index, life in enumerate(state.lives):
        if life.process and life.hash:
            yield from _reap(world, state, index, life)
        elif life.hash or life.condemned:
            # By proof of death or, of an id that never came into use, by its lease, which runs out.
            yield Move(f"worker {index + 1} is gone: recover", _recovered(state, index, life.hash or Hash()))
    if state.tick_old:
        grace = world.flaw is not Flaw.NO_GRACE
        yield Move("upkeep after an outage", state._replace(tick_old=False, grace=grace))
    if state.grace and not any(_is_to_renew(life) for life in state.lives):
        yield Move("the grace is over", state._replace(grace=False))


def _is_to_renew(life: Life) -> bool:
    """Whoever lives renews its lease much sooner than a grace takes."""
    return bool(life.process and life.hash and life.hash.lease == "cut")


def _reap(world: World, state: State, index: int, life: Life) -> Iterator[Move]:
    assert life.hash
    old = state.tick_old and world.flaw is not Flaw.TRUSTS_OLD_TICK
    expired = life.hash.lease != "good" and not old and not state.grace
    if world.flaw is not Flaw.CALLER_DECIDES:
        if expired:
            yield Move(f"worker {index + 1} is silent: recover", _recovered(state, index, life.hash))
        return
    if life.condemned:
        yield Move(f"worker {index + 1} was silent: recover", _recovered(state, index, life.hash))
    elif expired:
        what = f"upkeep finds worker {index + 1} silent, and somebody is to recover it"
        yield Move(what, state.with_life(index, life._replace(condemned=True)))


def _recovered(state: State, index: int, redis: Hash) -> State:
    """Everything that a worker holds is given back; what its process may have started, or may yet start, is excused."""
    life = state.lives[index]
    silent = bool(life.process) and redis.lease == "over"
    if life.process and not silent:
        state = state._replace(wrong=FENCED)
    for held in redis.held:
        if silent or (held.started and not life.process):
            state = excused(state, held.delivery.item)
    back = (*(held.delivery.item for held in redis.held), *life.handoff)
    life = life._replace(hash=NOTHING, handoff=(), condemned=False)
    return state._replace(scheduled=(*state.scheduled, *back)).with_life(index, life)
