"""Holds a chaos run's ledger, logs and Redis against each other, line by line."""

import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from multiworker.worker.message import SUSPECT
from tests.chaos.ledger import ACK_TIME, Fault, Run, Verdict, check, longest_silence

_ENDS = ("done", "retried", "dead", "given back", "in flight")


class Line(NamedTuple):
    """One line of the report: what, how much, and whether that is right (None: for information)."""

    name: str
    value: str
    right: bool | None = None


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What a run leaves behind.

    Args:
        tasks: numbers of those whose push Redis has acknowledged.
        unconfirmed: numbers of those whose push got no answer.
        concurrency: how many one child may hold.
        runs: of the ledger, by their start.
        faults: all that was done.
        logs: of each parent and its children.
        exit_codes: of the parents that were told to stop.
        left: tasks that still lie in Redis, by place.
        dead: fields of the dead letters.
        zombies: processes that nobody has buried, or that have outlived their parent.
        notes: what the scenario itself has measured.
    """

    tasks: Collection[int]
    unconfirmed: Collection[int] = ()
    concurrency: int
    runs: Sequence[Run]
    faults: Sequence[Fault]
    logs: Sequence[str]
    exit_codes: Sequence[int]
    left: dict[str, int]
    dead: Sequence[dict[str, str]]
    zombies: int = 0
    notes: Sequence[Line] = ()


@dataclass(frozen=True, kw_only=True)
class Bars:
    """What a scenario allows.

    Args:
        recovery: seconds from a fault to the new start of its tasks, p99, but for suspects; None for any.
        silence: seconds in which a living child began nothing; None for any.
        duplicates: tasks may run again after a fault that explains it.
        beside: a new run may begin beside one whose process was stopped, or which Redis forgot.
        forgotten: pushes that Redis acknowledged but may have lost, by the faults' nature.
        dead: numbers of the tasks that are to be dead letters, and no others.
        deaths: children may die that no fault was aimed at.
        accounts: the parents' sums must agree with the ledger to the last task.
    """

    recovery: float | None = None
    silence: float | None = None
    duplicates: bool = False
    beside: bool = False
    forgotten: Collection[int] = ()
    dead: Collection[int] = ()
    deaths: bool = False
    accounts: bool = True


class Judgement(NamedTuple):
    """The report of a run.

    Args:
        lines: what it says, in order.
        verdict: on the runs.
    """

    lines: list[Line]
    verdict: Verdict

    @property
    def wrong(self) -> list[Line]:
        """The lines that should read otherwise."""
        return [line for line in self.lines if line.right is False]

    def value(self, name: str) -> str:
        """Return what a line says."""
        return next(line.value for line in self.lines if line.name.strip() == name)


def judge(seen: Evidence, bars: Bars) -> Judgement:
    """Say what happened, and whether it may.

    Args:
        seen: what the run left behind.
        bars: what is allowed.
    """
    wanted = set(seen.tasks) - set(bars.dead)
    verdict = check(seen.runs, seen.faults, seen.tasks, seen.unconfirmed)
    lost = [task for task in verdict.lost if task in wanted]
    lines = [
        *_of_tasks(seen, bars, lost),
        *_of_runs(verdict, bars),
        *_of_recovery(verdict, bars),
        *_of_children(seen, bars),
        *_of_the_end(seen, bars),
        *_of_accounts(seen, verdict, bars),
        *seen.notes,
    ]
    return Judgement(lines, verdict)


def _of_tasks(seen: Evidence, bars: Bars, lost: Sequence[int]) -> list[Line]:
    kinds = Counter(fault.kind for fault in seen.faults)
    ran = {run.task for run in seen.runs if run.end is not None}
    forgotten = [task for task in lost if task in bars.forgotten]
    lines = [
        Line("faults", _said(kinds)),
        Line("tasks acknowledged by Redis", str(len(seen.tasks)), len(seen.tasks) > 0),
        Line("lost", str(len(lost) - len(forgotten)), len(lost) == len(forgotten)),
        Line("runs", str(len(seen.runs))),
    ]
    if bars.forgotten:
        lines.append(Line("  young pushes that Redis forgot", f"{len(forgotten)} of {len(bars.forgotten)}"))
    if seen.unconfirmed:
        came = sum(task in ran for task in seen.unconfirmed)
        lines.append(Line("pushes without an answer", f"{len(seen.unconfirmed)}, of them carried out {came}"))
    return lines


def _of_runs(verdict: Verdict, bars: Bars) -> list[Line]:
    unacknowledged = [late for restart in verdict.restarts if (late := restart.unacknowledged) is not None]
    oldest = f", the longest {max(unacknowledged):.3f} s before" if unacknowledged else ""
    crashes = ", ".join(f"{tasks} in {n}" for n, tasks in sorted(verdict.crashes.items()))
    return [
        Line("duplicates explained", str(len(verdict.restarts)), bars.duplicates or not verdict.restarts),
        Line("  of them ended, not acknowledged", f"{len(unacknowledged)}{oldest} (usually {ACK_TIME:g} s at most)"),
        Line("  tasks by faults seen", crashes or "none"),
        Line("duplicates unexplained", str(len(verdict.unexplained)), not verdict.unexplained),
        Line("runs overlapping", str(len(verdict.overlapping)), not verdict.overlapping),
        Line("runs beside one thought dead", str(len(verdict.beside)), bars.beside or not verdict.beside),
        Line("runs without an end or a fault", str(len(verdict.unfinished)), not verdict.unfinished),
        Line("runs of strange tasks or attempts", str(len(verdict.strange)), not verdict.strange),
    ]


def _of_recovery(verdict: Verdict, bars: Bars) -> list[Line]:
    suspected: list[float] = []
    waits: list[float] = []
    faults: Counter[int] = Counter()
    for restart in sorted(verdict.restarts, key=lambda one: one.again.start):
        faults[restart.first.task] += 1
        (waits if faults[restart.first.task] < SUSPECT else suspected).append(restart.seconds)
    lines = [Line("fault to new start", *_of_waits(waits, bars.recovery))]
    return lines + ([Line("  of suspects, which run alone", _of_waits(suspected, None)[0])] if suspected else [])


def _of_waits(waits: list[float], most: float | None) -> tuple[str, bool]:
    if not waits:
        return "nothing was in flight", True
    waits = sorted(waits)
    p50, p99 = (waits[min(len(waits) - 1, int(len(waits) * share))] for share in (0.5, 0.99))
    bar = f" (p99 at most {most:g} s)" if most else ""
    return f"p50 {p50:.3f} s, p99 {p99:.3f} s, longest {waits[-1]:.3f} s{bar}", most is None or p99 <= most


def _of_children(seen: Evidence, bars: Bars) -> list[Line]:
    died = {int(pid) for log in seen.logs for pid in re.findall(r"child \d+ \(pid (\d+), .*\) died", log)}
    others = died - {pid for fault in seen.faults for pid in fault.pids}
    lines = [Line("deaths of children not aimed at", str(len(others)), bars.deaths or not others)]
    if bars.silence is not None:
        silence = longest_silence(seen.runs, seen.faults)
        said = f"{silence:.3f} s (at most {bars.silence:g} s)"
        lines.append(Line("longest silence of a living child", said, silence <= bars.silence))
    return lines


def _of_the_end(seen: Evidence, bars: Bars) -> list[Line]:
    numbers = Counter(_number(fields) for fields in seen.dead)
    return [
        Line("dead letters", f"{len(seen.dead)} of {len(bars.dead)}", numbers == Counter(bars.dead)),
        Line("stranded in Redis", _said(seen.left), not seen.left),
        Line("zombies and orphans", str(seen.zombies), seen.zombies == 0),
        Line("exit codes", " ".join(map(str, seen.exit_codes)), not any(seen.exit_codes)),
    ]


def _number(letter: dict[str, str]) -> int:
    try:
        return int(json.loads(letter["payload"])["data"]["n"])
    except (ValueError, KeyError, TypeError):
        return -1


def conservation(log: str) -> dict[str, int]:
    """Return the parent's last line of conservation: claimed and what became of it; empty if there is none."""
    lines = re.findall(r"claimed \d+ = .*", log)
    if not lines:
        return {}
    return {name.strip(" =+"): int(n) for name, n in re.findall(r"([a-z][a-z ]*) =? ?(\d+)", lines[-1])}


def given_back(logs: Iterable[str]) -> Counter[str]:
    """Return how many tasks of each dead worker were given back, as the logs have it."""
    found = (re.findall(r"worker (\S+) ended by .*: (\d+) tasks given back", log) for log in logs)
    return Counter({name: int(n) for lines in found for name, n in lines})


def _of_accounts(seen: Evidence, verdict: Verdict, bars: Bars) -> list[Line]:
    """Each parent's sum must be right, and together they say what the handlers say, and Redis at each recovery."""
    found = [account for log in seen.logs if (account := conservation(log))]
    if not found:
        return [Line("conservation", "no parent said anything", not bars.accounts)]
    wrong = [account for account in found if account["claimed"] != sum(account[end] for end in _ENDS)]
    sums = {name: sum(account[name] for account in found) for name in ("claimed", *_ENDS)}
    ends = {end: sums[end] for end in _ENDS}
    lines = [Line("claimed", f"{sums['claimed']} = {_said(ends)}", not wrong)]
    return lines + (_of_exact_accounts(seen, verdict, sums, bars) if bars.accounts else [])


def _of_exact_accounts(seen: Evidence, verdict: Verdict, sums: dict[str, int], bars: Bars) -> list[Line]:
    kills = [fault for fault in seen.faults if fault.worker]
    back = given_back(seen.logs)
    logged = back.total()
    silent = [fault for fault in kills if fault.worker not in back]  # whoever gave these back was killed over it
    reruns = Counter(restart.fault.worker for restart in verdict.restarts if restart.fault.worker)
    most = {fault.worker: back.get(fault.worker, seen.concurrency) for fault in kills}
    within = logged <= sums["given back"] <= logged + len(silent) * seen.concurrency
    ran = {run.task for run in seen.runs if run.end is not None}
    right = sums["done"] == len(ran) and sums["dead"] == len(bars.dead)
    return [
        Line("claimed less given back", str(sums["claimed"] - sums["given back"]), right),
        Line("given back, by the log", f"{logged}, and {len(silent)} recoveries without a line", within),
        Line("  of them had started", str(reruns.total()), all(reruns[worker] <= most[worker] for worker in reruns)),
    ]


def _said(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "0"


TABLE_HEAD = (
    "| scenario | tasks | runs | faults | lost | duplicates: explained, not explained | overlapping | stranded "
    "| dead letters | zombies | fault to new start | |\n|---|---|---|---|---|---|---|---|---|---|---|---|"
)


def table_row(name: str, judgement: Judgement) -> str:
    """Write a run as one row of a Markdown table."""
    names = ["tasks acknowledged by Redis", "runs", "faults", "lost", "duplicates explained", "runs overlapping"]
    names += ["stranded in Redis", "dead letters", "zombies and orphans", "fault to new start"]
    values = [judgement.value(one) for one in names]
    values[4] = f"{values[4]}, {judgement.value('duplicates unexplained')}"
    wrong = "; ".join(line.name.strip() for line in judgement.wrong)
    return f"| {name} | {' | '.join(values)} | {'FAIL: ' + wrong if wrong else 'ok'} |"
