"""A worker: what child.py, consumer.py and lane.py send, and what they make of replies."""

from collections.abc import Iterable, Iterator

from tests.model.flaws import Flaw
from tests.model.world import NOTHING, Delivery, Held, Life, Move, Process, Reply, Request, Run, State, World

RUN_TWICE = "an item was started twice without an excuse"
TOO_MANY = "more items run than there are permits"
NOT_HELD = "a running item is held no more"
MOST_STARTS = 3
"""Excuses beyond this one are not counted, so that there are not too many states."""


def moves(world: World, state: State) -> Iterator[Move]:
    """Let any process send, receive, or end what it runs."""
    for index, life in enumerate(state.lives):
        process = life.process
        if not process:
            continue
        yield from _ends(state, index, process)
        for slot in ("steps", "waits"):
            reply = getattr(process, slot)
            if isinstance(reply, Reply):
                yield _receive(world, state, index, slot, reply)
        if not process.steps:
            yield from _send(world, state, index, process)
        if world.own_waits and process.registered and not process.waits and process.running < world.permits:
            what = f"worker {index + 1} waits for a push on a connection of its own"
            yield Move(what, with_process(state, index, process._replace(waits=Request("wait"))))


def with_process(state: State, index: int, process: Process) -> State:
    """Return the state with one process changed."""
    return state.with_life(index, state.lives[index]._replace(process=process))


def excused(state: State, item: int) -> State:
    """Return the state in which an item may be started once more."""
    starts = [min(MOST_STARTS, may + 1) if number == item else may for number, may in enumerate(state.starts)]
    return state._replace(starts=tuple(starts))


def ended(world: World, state: State, index: int) -> State:
    """Return the state in which a process is gone, and a new one in its place.

    What it has sent may still arrive.
    """
    life = state.lives[index]
    assert life.process
    late, late_waits = list(life.late), state.late_waits
    for wire in (life.process.steps, life.process.waits):
        if isinstance(wire, Request):
            if wire.kind == "wait" and world.flaw is not Flaw.OWN_HANDOFF:
                late_waits += 1
            else:
                late.append(wire)
    gone = life._replace(process=NOTHING, late=tuple(late))
    return _with_new_process(state._replace(late_waits=late_waits).with_life(index, gone))


def broken(world: World, state: State, index: int) -> State:
    """Return the state in which a process knows that the request under way on its step connection has failed."""
    life = state.lives[index]
    process = life.process
    assert process
    if process.registered:
        return with_process(state, index, process._replace(broken=True, steps=NOTHING))
    if world.flaw is Flaw.REGISTERS_AGAIN:
        return with_process(state, index, process._replace(steps=NOTHING))
    return _with_new_process(state.with_life(index, life._replace(process=NOTHING)))  # under a new id


def wait_failed(world: World, state: State, index: int) -> State:
    """Return the state in which a process knows that its wait has failed: it steps, as after any wait."""
    process = state.lives[index].process
    assert process
    if world.flaw is Flaw.WAIT_ERROR_RECONCILES:
        number = process.number + 1
        request = Request("reconcile", number, known=_known(process))
        return with_process(state, index, process._replace(number=number, waits=request))
    return with_process(state, index, process._replace(waits=NOTHING))


def _with_new_process(state: State) -> State:
    return state._replace(lives=(*state.lives, Life(Process())))


def _ends(state: State, index: int, process: Process) -> Iterator[Move]:
    for run in process.known:
        if run.state == "runs":
            name = f"item {run.delivery.item + 1} of worker {index + 1}"
            yield Move(f"{name} ends well", with_process(state, index, _with_run(process, run, "done")))
            if state.budget.retries:
                failed = with_process(state, index, _with_run(process, run, "retry"))
                budget = state.budget._replace(retries=state.budget.retries - 1)
                yield Move(f"{name} fails, to run again", excused(failed, run.delivery.item)._replace(budget=budget))


def _with_run(process: Process, run: Run, outcome: str) -> Process:
    known = [Run(run.delivery, outcome) if other == run else other for other in process.known]
    return process._replace(known=tuple(sorted(known)))


def _known(process: Process) -> tuple[Delivery, ...]:
    return tuple([run.delivery for run in process.known])


def _send(world: World, state: State, index: int, process: Process) -> Iterator[Move]:
    """Send the next request on the step connection: one at a time, and none but reconcile after an error."""
    number = process.number if world.flaw is Flaw.SERVER_CHOOSES_NUMBER else process.number + 1
    worker = f"worker {index + 1}"
    if not process.registered:
        sent = process._replace(steps=Request("register"))
        yield Move(f"{worker} registers", with_process(state, index, sent))
    elif process.broken:
        request = Request("reconcile", number, known=_known(process))
        sent = process._replace(number=number, steps=request)
        yield Move(f"{worker} sends reconcile {number}", with_process(state, index, sent))
    else:
        for request in _steps(world, state, index, process, number):
            known = process.known
            if world.flaw is Flaw.FORGETS_AT_SEND:
                known = tuple([run for run in known if run.state == "runs"])
            what = f"{worker} sends {'a wait and ' if request.waits else ''}step {number}"
            yield Move(what, with_process(state, index, process._replace(number=number, steps=request, known=known)))


def _steps(world: World, state: State, index: int, process: Process, number: int) -> Iterator[Request]:
    """Yield the steps that a process may send now: one, or with nothing to do one that waits for a push first."""
    acks = tuple([run.delivery for run in process.known if run.state == "done"])
    retries = tuple([run.delivery for run in process.known if run.state == "retry"])
    want = world.permits - process.running
    redis = state.lives[index].hash
    to_renew = not redis or redis.lease != "good"
    hungry = want > 0 and len(state.done) < world.items
    if acks or retries or hungry or to_renew:
        yield Request("step", number, acks, retries, want)
    if hungry and not process.known:
        yield Request("step", number, want=want, waits=True)


def _receive(world: World, state: State, index: int, slot: str, reply: Reply) -> Move:
    process = state.lives[index].process
    assert process
    what = f"worker {index + 1} is told {reply.status}"
    if reply.status == "FENCED":
        return Move(f"{what} and leaves", ended(world, state, index))
    process = process.with_wire(slot, NOTHING)
    if reply.status == "STALE":
        return Move(what, with_process(state, index, process._replace(broken=True)))
    if reply.request.kind == "register":
        if reply.status == "TAKEN":
            return Move(what, broken(world, state, index))
        return Move(what, with_process(state, index, process._replace(registered=True)))
    known, wrong = _confirmed(process, reply)
    if reply.request.kind == "reconcile":
        process = process._replace(broken=False)
        if world.flaw is Flaw.SERVER_CHOOSES_NUMBER:
            process = process._replace(number=reply.number)
    process = process._replace(known=known)
    return Move(what, _started(world, state._replace(wrong=wrong), index, process, reply.deliveries))


def _confirmed(process: Process, reply: Reply) -> tuple[tuple[Run, ...], str]:
    """Return what is still to be known, and what is wrong with that."""
    if reply.request.kind == "step":
        sent = (*reply.request.acks, *reply.request.retries)
        return tuple([run for run in process.known if run.delivery not in sent]), ""
    lost = any(run.state == "runs" and run.delivery in reply.gone for run in process.known)
    return tuple([run for run in process.known if run.delivery not in reply.gone]), NOT_HELD if lost else ""


def _started(world: World, state: State, index: int, process: Process, claims: Iterable[Delivery]) -> State:
    """Return the state in which a process has started what it was given."""
    starts, known, redis, wrong = list(state.starts), set(process.known), state.lives[index].hash, state.wrong
    for claim in claims:
        starts[claim.item] -= 1
        wrong = wrong or (RUN_TWICE if starts[claim.item] < 0 else "")
        known.add(Run(claim, "runs"))
        if redis:
            held = [Held(one.delivery, started=one.started or one.delivery == claim) for one in redis.held]
            redis = redis._replace(held=tuple(sorted(held)))
    process = process._replace(known=tuple(sorted(known)))
    if process.running > world.permits:
        wrong = wrong or TOO_MANY
    life = state.lives[index]._replace(process=process, hash=redis)
    return state._replace(starts=tuple(starts), wrong=wrong).with_life(index, life)
