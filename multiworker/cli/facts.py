"""What a scoreboard says, in plain numbers. Pure: pages and what the kernel says of processes are handed in."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from multiworker.supervisor.children import say_code
from multiworker.supervisor.header import Phase
from multiworker.supervisor.reload import Outcome
from multiworker.worker.scoreboard import Record, Scoreboard
from multiworker.worker.words import State, Total, Word

_STATES: dict[int, str] = {
    State.IMPORT: "booting",
    State.CONNECT: "connecting",
    State.READY: "ready",
    State.DRAIN: "draining",
    State.LOST: "lost",
    State.SETTLED: "left",
}
_DEAD = "dead"


class Usage(NamedTuple):
    """What the kernel says of a live process.

    Args:
        rss: its resident set, in bytes.
        cpu: per cent of one core.
    """

    rss: int
    cpu: float


@dataclass(frozen=True, slots=True)
class ChildFacts:
    """One child, or an empty slot. Seconds unless said otherwise; None: there is none, or it is not known.

    Args:
        slot: which of the wanted places, from 1.
        pid: its process.
        generation: whose code it runs.
        state: booting, connecting, ready, draining; left, lost or dead when it has ended; down without a process.
        uptime: since it was forked.
        beat_age: since its event loop last turned.
        redis_age: since Redis last answered it.
        in_flight: tasks that it holds.
        tasks_per_second: that have come to an end.
        claimed: tasks taken in its life; and what became of them:
        done: acknowledged.
        retried: put off for another attempt.
        dead: dead-lettered.
        given_back: left to others.
        restarts: children that died in its slot without having been told to leave.
        last_exit: how the last of these ended.
        last_exit_age: since then.
        rss: its resident set, in bytes.
        cpu: per cent of one core.
    """

    slot: int
    pid: int | None = None
    generation: int | None = None
    state: str = "down"
    uptime: float | None = None
    beat_age: float | None = None
    redis_age: float | None = None
    in_flight: int = 0
    tasks_per_second: float | None = None
    claimed: int = 0
    done: int = 0
    retried: int = 0
    dead: int = 0
    given_back: int = 0
    restarts: int = 0
    last_exit: str | None = None
    last_exit_age: float | None = None
    rss: int | None = None
    cpu: float | None = None


@dataclass(frozen=True, slots=True)
class ReloadFacts:
    """The last reload that has come to its end.

    Args:
        outcome: loaded, refused or abandoned.
        age: seconds since then.
        reason: why it was not loaded; empty if it was.
    """

    outcome: str
    age: float
    reason: str


@dataclass(frozen=True, slots=True)
class ParentFacts:
    """One instance.

    Args:
        name: None if it has none.
        pid: the parent's.
        state: starting, running, reloading, quiet, stopping; dead if the parent has ended without a word.
        uptime: seconds.
        pass_age: seconds since the parent last looked after its children.
        generation_wanted: what children are to run.
        generation_good: the last that was complete; 0 before.
        ready: children that take tasks.
        wanted: children that there should be.
        reload: the last reload; None without one.
        tasks: of all children, gone and present: claimed, done, retried, dead, given_back, in_flight.
        tasks_per_second: that have come to an end.
        children: by slot.
    """

    name: str | None
    pid: int
    state: str
    uptime: float
    pass_age: float
    generation_wanted: int
    generation_good: int
    ready: int
    wanted: int
    reload: ReloadFacts | None
    tasks: dict[str, int]
    tasks_per_second: float
    children: list[ChildFacts]


def is_ready(record: Record) -> bool:
    """Tell whether a child takes tasks and is to go on with it."""
    return record[Word.STATE] == State.READY and not record[Word.LEAVING]


def facts(
    name: str | None,
    board: Scoreboard,
    before: Scoreboard,
    now: int,
    seconds: float,
    usages: Mapping[int, Usage],
    *,
    alive: bool,
) -> ParentFacts:
    """Put together what is known of one instance.

    Args:
        name: None if it has none.
        board: the page as it is.
        before: the page as it was a moment ago, for what is counted in a second.
        now: monotonic ns of `board`.
        seconds: between the two.
        usages: what is known of live processes, by pid.
        alive: the parent lives.
    """
    totals = board.totals
    ends = {record[Word.PID]: _ended(record) for record in before.present}
    pids = [(record, record[Word.PID]) for record in board.present]
    children = [_child(record, ends.get(pid), now, seconds, usages.get(pid)) for record, pid in pids]
    taken = {child.slot for child in children}
    children += [ChildFacts(slot) for slot in range(1, totals[Total.PROCS] + 1) if slot not in taken]
    ledger, earlier = board.ledger(), before.ledger()
    sums = [sum(book[end] for end in ("done", "retried", "dead")) for book in (earlier, ledger)]
    return ParentFacts(
        name=name,
        pid=totals[Total.PARENT],
        state=Phase(totals[Total.PHASE]).name.lower() if alive else _DEAD,
        uptime=_since(totals[Total.STARTED], now) or 0.0,
        pass_age=_since(totals[Total.PASSED], now) or 0.0,
        generation_wanted=totals[Total.GENERATION],
        generation_good=totals[Total.GOOD_GENERATION],
        ready=sum(is_ready(record) and record[Word.PID] in usages for record in board.present),
        wanted=totals[Total.PROCS],
        reload=_reload(board, now),
        tasks=ledger,
        tasks_per_second=_rate(sums[0], sums[1], seconds),
        children=[_with_slot(one, board, now) for one in sorted(children, key=lambda one: (one.slot, one.uptime or 0))],
    )


def _child(record: Record, earlier: int | None, now: int, seconds: float, usage: Usage | None) -> ChildFacts:
    state = _STATES.get(record[Word.STATE], _DEAD)
    if usage is None and state not in {"lost", "left"}:
        state = _DEAD
    elif record[Word.LEAVING] and usage:
        state = "draining"
    return ChildFacts(
        slot=record[Word.SLOT],
        pid=record[Word.PID],
        generation=record[Word.GENERATION],
        state=state,
        uptime=_since(record[Word.STARTED], now),
        beat_age=_since(record[Word.BEAT], now),
        redis_age=_since(record[Word.CONTACT], now),
        in_flight=record[Word.IN_FLIGHT],
        tasks_per_second=None if earlier is None else _rate(earlier, _ended(record), seconds),
        claimed=record[Word.CLAIMED],
        done=record[Word.DONE],
        retried=record[Word.RETRIED],
        dead=record[Word.DEAD],
        given_back=record[Word.GIVEN_BACK],
        rss=usage.rss if usage else None,
        cpu=usage.cpu if usage else None,
    )


def _with_slot(child: ChildFacts, board: Scoreboard, now: int) -> ChildFacts:
    """Add what the parent keeps of its slot."""
    kept = board.slots[child.slot - 1]
    if kept.last is None:
        return replace(child, restarts=kept.restarts)
    code, at = kept.last
    return replace(child, restarts=kept.restarts, last_exit=say_code(code), last_exit_age=_since(at, now))


def _reload(board: Scoreboard, now: int) -> ReloadFacts | None:
    outcome = Outcome(board.totals[Total.OUTCOME])
    if outcome is Outcome.NONE:
        return None
    reason = "" if outcome is Outcome.LOADED else board.text
    return ReloadFacts(outcome.name.lower(), _since(board.totals[Total.OUTCOME_AT], now) or 0.0, reason)


def _ended(record: Record) -> int:
    return record[Word.DONE] + record[Word.RETRIED] + record[Word.DEAD]


def _rate(before: int, after: int, seconds: float) -> float:
    return round(max(0, after - before) / seconds, 1) if seconds > 0 else 0.0


def _since(then: int, now: int) -> float | None:
    """Return the seconds between two monotonic ns; None if the first one has not come."""
    return round(max(0, now - then) / 1e9, 3) if then else None
