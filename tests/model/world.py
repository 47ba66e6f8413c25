"""What the model sees of the world: small immutable states, alike if nothing can tell them apart.

Everything about one worker id is one Life: its process, its in-flight hash and the late requests in its name. So a
state needs no worker ids, and lives are interchangeable. Fields that hold nothing are the empty tuple, which sorts and
hashes like everything else.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

from tests.model.flaws import Flaw

Nothing = tuple[()]
NOTHING: Nothing = ()


class Delivery(NamedTuple):
    """One claim of an item; the request number of the claim tells it from all others of the same worker."""

    item: int
    claim: int


class Run(NamedTuple):
    """What a process knows of a delivery: it runs, or it ended (done, retry) and no reply has confirmed that."""

    delivery: Delivery
    state: str


class Held(NamedTuple):
    """What Redis has in a worker's name. That its process has started it is known to the checker alone."""

    delivery: Delivery
    started: bool


class Request(NamedTuple):
    """A request that Redis has not carried out.

    Args:
        kind: register, step, reconcile or wait.
        number: the request number.
        acks: step: what is done.
        retries: step: what is to run again.
        want: step: how many to claim.
        waits: step: a BLMOVE stands before it on the same connection, and Redis is not through with it.
        known: reconcile: every delivery that the process knows.
    """

    kind: str
    number: int = 0
    acks: tuple[Delivery, ...] = ()
    retries: tuple[Delivery, ...] = ()
    want: int = 0
    waits: bool = False
    known: tuple[Delivery, ...] = ()


class Reply(NamedTuple):
    """A reply on its way.

    Args:
        status: OK, STALE, FENCED or TAKEN.
        request: what it answers.
        deliveries: step: claims; reconcile: what is held and was not known.
        gone: reconcile: what was known and is not held.
        number: the number that the server chose; for a flaw alone.
    """

    status: str
    request: Request
    deliveries: tuple[Delivery, ...] = ()
    gone: tuple[Delivery, ...] = ()
    number: int = 0


Wire = Request | Reply | Nothing


class Process(NamedTuple):
    """A process as it sees itself.

    Args:
        registered: it was told that it is known.
        broken: it is unknown what the last request did.
        number: the last request number that it drew.
        known: deliveries whose end no reply has confirmed, sorted.
        steps: what is under way on the step connection.
        waits: what is under way on the connection of its own waits.
    """

    registered: bool = False
    broken: bool = False
    number: int = 0
    known: tuple[Run, ...] = ()
    steps: Wire = NOTHING
    waits: Wire = NOTHING

    def with_wire(self, slot: str, wire: Wire) -> "Process":
        """Return the process with something else under way on one of its connections."""
        return self._replace(steps=wire) if slot == "steps" else self._replace(waits=wire)

    @property
    def running(self) -> int:
        """How many deliveries have not ended."""
        return sum([run.state == "runs" for run in self.known])


class Hash(NamedTuple):
    """A worker's in-flight hash and lease.

    Args:
        number: the last request number accepted.
        held: sorted.
        lease: good, over (the worker was silent), or cut (Redis was away: no fault of the worker's).
    """

    number: int = 0
    held: tuple[Held, ...] = ()
    lease: str = "good"


class Life(NamedTuple):
    """Everything about one worker id.

    Args:
        process: empty once it is gone.
        hash: empty if Redis does not know the worker.
        late: requests that nobody waits for any more; each is carried out at any time, or never.
        handoff: items handed off to this worker alone; for a flaw.
        condemned: somebody has decided to recover it; for a flaw.
    """

    process: Process | Nothing = NOTHING
    hash: Hash | Nothing = NOTHING
    late: tuple[Request, ...] = ()
    handoff: tuple[int, ...] = ()
    condemned: bool = False


class Budget(NamedTuple):
    """What may still happen, so many times."""

    retries: int = 0
    """A handler fails, and its item is to run again; no fault of the world's."""
    lost_requests: int = 0
    lost_replies: int = 0
    late: int = 0
    """The client gives up on a request that is carried out later, or never."""
    copies: int = 0
    """The network delivers a request once more."""
    kills: int = 0
    expiries: int = 0
    """A living worker is silent for longer than its lease."""
    outages: int = 0
    """Redis is away until everybody's lease is over."""

    def __str__(self) -> str:
        return ", ".join(f"{name}={count}" for name, count in self._asdict().items() if count)


class State(NamedTuple):
    """All of it.

    Args:
        lives: in any order.
        queue, handoff, scheduled, done: items; the next to be taken first.
        starts: for each item, how often it may still be started.
        tick_old: nobody has done upkeep for long.
        grace: after an outage, nobody is declared dead.
        late_waits: waits that nobody waits for any more; they may still move an item to the hand-off.
        budget: what may still happen.
        wrong: the property that was broken on the way here.
    """

    lives: tuple[Life, ...]
    queue: tuple[int, ...]
    starts: tuple[int, ...]
    budget: Budget
    handoff: tuple[int, ...] = ()
    scheduled: tuple[int, ...] = ()
    done: tuple[int, ...] = ()
    tick_old: bool = False
    grace: bool = False
    late_waits: int = 0
    wrong: str = ""

    def with_life(self, index: int, life: Life) -> "State":
        """Return the state with one life changed."""
        return self._replace(lives=(*self.lives[:index], life, *self.lives[index + 1 :]))


class Move(NamedTuple):
    """One atomic event.

    Args:
        what: for people.
        state: what it leads to.
        owed: it happens sooner or later without bad luck, so what is to be reached at last may count on it.
    """

    what: str
    state: State
    owed: bool = True


@dataclass(frozen=True)
class World:
    """How large the world is, and what rules it has.

    Args:
        budget: what may happen in it.
        items: how many lie in the queue at first.
        workers: processes; whatever ends is replaced.
        permits: tasks that a process runs at once.
        own_waits: processes also wait for pushes on a connection of their own, whatever they do meanwhile.
        registered: processes are known from the start; else they have to register first.
        flaw: a wrong rule.
    """

    budget: Budget
    items: int = 2
    workers: int = 2
    permits: int = 1
    own_waits: bool = False
    registered: bool = True
    flaw: Flaw = Flaw.NONE

    def start(self) -> State:
        """Return the state in which everything begins."""
        life = Life(Process(registered=True), Hash()) if self.registered else Life(Process())
        queue = tuple(range(self.items))
        return State((life,) * self.workers, queue, (1,) * self.items, self.budget)

    def with_flaw(self, flaw: Flaw) -> "World":
        """Return the world with a wrong rule."""
        return replace(self, flaw=flaw)

    def __str__(self) -> str:
        size = f"{self.items} items, {self.workers} workers, {self.permits} permits"
        more = (", own waits" if self.own_waits else "") + ("" if self.registered else ", registering")
        return f"{size}{more}; {self.budget}"
