"""Bad luck, as far as the budget goes."""

from collections.abc import Iterator

from tests.model.flaws import Flaw
from tests.model.worker import broken, ended, wait_failed
from tests.model.world import Budget, Life, Move, Process, Request, State, World


def moves(world: World, state: State) -> Iterator[Move]:
    """Let anything go wrong."""
    budget = state.budget
    for index, life in enumerate(state.lives):
        if not life.process:
            continue
        yield from _steps(world, state, index, life, life.process)
        yield from _waits(world, state, index, life.process)
        if budget.kills:
            what = f"worker {index + 1} is killed, or told to leave"
            yield _fault(state, "kills", what, ended(world, state, index))
        if budget.expiries and life.hash and life.hash.lease != "over":
            silent = state.with_life(index, life._replace(hash=life.hash._replace(lease="over")))
            yield _fault(state, "expiries", f"worker {index + 1} is silent until its lease is over", silent)
    if budget.outages:
        yield _fault(state, "outages", "Redis is away until everybody's lease is over", _after_outage(state))


def _fault(state: State, of: str, what: str, then: State) -> Move:
    return Move(f"FAULT: {what}", then._replace(budget=_spent(state.budget, of)), owed=False)


def _spent(budget: Budget, of: str) -> Budget:
    return budget._replace(**{of: getattr(budget, of) - 1})


def _steps(world: World, state: State, index: int, life: Life, process: Process) -> Iterator[Move]:
    """What may go wrong on the step connection."""
    wire, budget = process.steps, state.budget
    if not wire:
        return
    after = broken(world, state, index)
    if not isinstance(wire, Request):
        if budget.lost_replies:
            name = f"{wire.request.kind} {wire.request.number} of worker {index + 1}"
            yield _fault(state, "lost_replies", f"the reply to {name} is lost", after)
        return
    name = f"{wire.kind} {wire.number} of worker {index + 1}"
    if budget.lost_requests:
        yield _fault(state, "lost_requests", f"{name} is lost", after)
    if budget.late:
        yield _fault(state, "late", f"{name} is late", _with_late(after, index, wire))
    if budget.copies:
        yield _fault(state, "copies", f"{name} is sent twice on its way", _with_late(state, index, wire))


def _waits(world: World, state: State, index: int, process: Process) -> Iterator[Move]:
    """What may go wrong on the connection of a process's own waits."""
    if not isinstance(process.waits, Request) or process.waits.kind != "wait":
        return
    after, name = wait_failed(world, state, index), f"the wait of worker {index + 1}"
    if state.budget.lost_requests:
        yield _fault(state, "lost_requests", f"{name} is lost", after)
    if state.budget.late and world.flaw is Flaw.OWN_HANDOFF:
        yield _fault(state, "late", f"{name} is late", _with_late(after, index, process.waits))
    elif state.budget.late:
        yield _fault(state, "late", f"{name} is late", after._replace(late_waits=after.late_waits + 1))


def _with_late(state: State, index: int, request: Request) -> State:
    life = state.lives[index]
    return state.with_life(index, life._replace(late=(*life.late, request)))


def _after_outage(state: State) -> State:
    lives = list(state.lives)
    for index, life in enumerate(lives):
        if life.hash and life.hash.lease == "good":
            lives[index] = life._replace(hash=life.hash._replace(lease="cut"))
    return state._replace(lives=tuple(lives), tick_old=True, grace=False)
