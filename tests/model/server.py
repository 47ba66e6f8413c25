"""Redis: each request is carried out at once, as the scripts in worker/lua do it."""

from collections.abc import Iterator

from tests.model.flaws import Flaw
from tests.model.world import NOTHING, Delivery, Hash, Held, Move, Nothing, Reply, Request, State, World

LATE_SETTLE = "a late acknowledgement met a newer claim"

Outcome = tuple[str, State, Request | Reply | Nothing]
"""What happened, the state after it, and what is on the wire then."""


def moves(world: World, state: State) -> Iterator[Move]:
    """Carry out any request that is under way or late."""
    for index, life in enumerate(state.lives):
        if life.process:
            for slot in ("steps", "waits"):
                request = getattr(life.process, slot)
                if isinstance(request, Request):
                    for what, then, answer in _carry_out(world.flaw, state, index, request):
                        yield Move(what, _answered(then, index, slot, answer))
        for request in set(life.late):
            for what, then, answer in _carry_out(world.flaw, state, index, request):
                yield Move(f"late: {what}", _arrived(then, index, request, answer), owed=False)
    if state.late_waits:
        if state.queue:
            after = _handed_off(Flaw.NONE, state, 0)
            yield Move("late: a wait hands off", after._replace(late_waits=state.late_waits - 1), owed=False)
        else:
            yield Move("late: a wait times out", state._replace(late_waits=state.late_waits - 1), owed=False)


def _answered(state: State, index: int, slot: str, answer: Request | Reply | Nothing) -> State:
    life = state.lives[index]
    assert life.process
    return state.with_life(index, life._replace(process=life.process.with_wire(slot, answer)))


def _arrived(state: State, index: int, request: Request, answer: Request | Reply | Nothing) -> State:
    """Nobody reads the reply; but a step that stood behind a wait is still to come."""
    life = state.lives[index]
    late = list(life.late)
    late.remove(request)
    if isinstance(answer, Request):
        late.append(answer)
    return state.with_life(index, life._replace(late=tuple(late)))


def _carry_out(flaw: Flaw, state: State, index: int, request: Request) -> Iterator[Outcome]:
    name = f"{request.kind} {request.number} of worker {index + 1}"
    if request.kind == "wait" or request.waits:
        answer = request._replace(waits=False) if request.waits else NOTHING
        if state.queue:
            yield f"the wait of worker {index + 1} hands off", _handed_off(flaw, state, index), answer
        else:
            yield f"the wait of worker {index + 1} times out", state, answer
    elif request.kind == "register":
        yield _register(flaw, state, index, request)
    elif refusal := _refusal(flaw, state.lives[index].hash, request):
        yield f"{name}: {refusal}", state, Reply(refusal, request)
    elif request.kind == "reconcile":
        yield _reconcile(flaw, state, index, request, name)
    else:
        yield from _step(flaw, state, index, request, name)


def _handed_off(flaw: Flaw, state: State, index: int) -> State:
    """BLMOVE queue handoff RIGHT LEFT."""
    item, queue = state.queue[0], state.queue[1:]
    if flaw is Flaw.OWN_HANDOFF:
        life = state.lives[index]
        return state._replace(queue=queue).with_life(index, life._replace(handoff=(*life.handoff, item)))
    return state._replace(queue=queue, handoff=(*state.handoff, item))


def _register(flaw: Flaw, state: State, index: int, request: Request) -> Outcome:
    life = state.lives[index]
    what = f"register of worker {index + 1}"
    if life.hash and flaw is Flaw.REGISTERS_AGAIN:
        again = life.hash._replace(number=0, lease="good")
        return what, state.with_life(index, life._replace(hash=again)), Reply("OK", request)
    if life.hash:
        return f"{what}: TAKEN", state, Reply("TAKEN", request)
    return what, state.with_life(index, life._replace(hash=Hash())), Reply("OK", request)


def _refusal(flaw: Flaw, redis: Hash | Nothing, request: Request) -> str:
    if not redis:
        return "FENCED"
    if flaw is Flaw.NO_NUMBER:
        return ""
    if flaw is Flaw.SERVER_CHOOSES_NUMBER:
        return "" if request.number == redis.number else "STALE"
    return "" if request.number > redis.number else "STALE"


def _reconcile(flaw: Flaw, state: State, index: int, request: Request, name: str) -> Outcome:
    life = state.lives[index]
    assert life.hash
    number = life.hash.number + 1 if flaw is Flaw.SERVER_CHOOSES_NUMBER else request.number
    held = [held.delivery for held in life.hash.held]
    gone = [known for known in request.known if not any(_same(flaw, known, other) for other in held)]
    unknown = [delivery for delivery in held if not any(_same(flaw, delivery, other) for other in request.known)]
    redis = life.hash._replace(number=number, lease="good")
    reply = Reply("OK", request, tuple(unknown), tuple(gone), number)
    told = f"{name}: {_names(unknown)} unknown, {_names(gone)} gone"
    return told, state.with_life(index, life._replace(hash=redis)), reply


def _step(flaw: Flaw, state: State, index: int, request: Request, name: str) -> Iterator[Outcome]:
    life = state.lives[index]
    assert life.hash
    held = list(life.hash.held)
    wrong, ended = "", []
    for delivery in (*request.acks, *request.retries):
        found = next((one for one in held if _same(flaw, one.delivery, delivery)), None)
        if found:
            wrong = wrong if found.delivery == delivery else LATE_SETTLE
            held.remove(found)
            ended.append(delivery)
    done = [delivery.item for delivery in request.acks if delivery in ended]
    again = [delivery.item for delivery in request.retries if delivery in ended]
    number = life.hash.number if flaw is Flaw.SERVER_CHOOSES_NUMBER else request.number
    # What is due is looked up before the settlements. How much of it goes first depends on the number: try both.
    handed_off = life.handoff if flaw is Flaw.OWN_HANDOFF else state.handoff
    due = (*state.scheduled, *again) if flaw is Flaw.ITEM_NAMES_DELIVERY else state.scheduled
    both_ways = bool(due and (handed_off or state.queue))
    for waiting in (due + handed_off + state.queue, handed_off + state.queue + due)[: 1 + both_ways]:
        taken = waiting[: request.want]
        claims = [Delivery(item, request.number) for item in taken]
        redis = Hash(number, tuple(sorted([*held, *(Held(claim, started=False) for claim in claims)])))
        left = [tuple([item for item in source if item not in taken]) for source in (state.queue, handed_off, due)]
        after = state._replace(
            queue=left[0],
            scheduled=left[2] if flaw is Flaw.ITEM_NAMES_DELIVERY else (*left[2], *again),
            done=tuple(sorted((*state.done, *done))),
            wrong=wrong,
        )
        if flaw is Flaw.OWN_HANDOFF:
            after = after.with_life(index, life._replace(hash=redis, handoff=left[1]))
        else:
            after = after._replace(handoff=left[1]).with_life(index, life._replace(hash=redis))
        told = f"{name}: {_names(ended)} ended, {_names(claims)} claimed"
        yield told, after, Reply("OK", request, tuple(claims))


def _same(flaw: Flaw, one: Delivery, other: Delivery) -> bool:
    return one.item == other.item if flaw is Flaw.ITEM_NAMES_DELIVERY else one == other


def _names(deliveries: list[Delivery]) -> str:
    return " and ".join(f"item {delivery.item + 1}" for delivery in deliveries) or "nothing"
