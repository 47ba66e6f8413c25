"""Holds a chaos run's ledger, log and Redis against each other, line by line."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tests.chaos.ledger import ACK_TIME, Kill, Run, Verdict, check, longest_silence

_ENDS = ("done", "retried", "dead", "given back", "in flight")


class Line(NamedTuple):
    """One line of the report: what, how much, and whether that is right (None: for information)."""

    name: str
    value: str
    right: bool | None = None


@dataclass(frozen=True)
class Evidence:
    """What a run leaves behind.

    Args:
        tasks: how many were pushed, numbered from 0.
        concurrency: how many one child may hold.
        runs: of the ledger, by their start.
        kills: all that were sent.
        log: of the parent and its children.
        exit_code: the parent's.
        left: tasks that still lie in Redis, by place.
        dead: fields of the dead letters.
    """

    tasks: int
    concurrency: int
    runs: Sequence[Run]
    kills: Sequence[Kill]
    log: str
    exit_code: int
    left: dict[str, int]
    dead: Sequence[dict[str, str]]


def judge(seen: Evidence, most_recovery: float, most_silence: float) -> list[Line]:
    """Say what happened, and whether it may.

    Args:
        seen: what the run left behind.
        most_recovery: seconds from a kill to the new start of its tasks, p99.
        most_silence: seconds in which a living child began nothing.
    """
    verdict = check(seen.runs, seen.kills, range(seen.tasks))
    return [
        *_of_runs(seen, verdict),
        *_of_recovery(verdict, most_recovery),
        *_of_others(seen, most_silence),
        Line("dead letters", str(len(seen.dead)), not seen.dead),
        Line("stranded in Redis", _said(seen.left), not seen.left),
        Line("exit code", str(seen.exit_code), seen.exit_code == 0),
        *_of_accounts(seen, verdict),
    ]


def conservation(log: str) -> dict[str, int]:
    """Return the parent's last line of conservation: claimed and what became of it; empty if there is none."""
    lines = re.findall(r"claimed \d+ = .*", log)
    if not lines:
        return {}
    return {name.strip(" =+"): int(n) for name, n in re.findall(r"([a-z][a-z ]*) =? ?(\d+)", lines[-1])}


def given_back(log: str) -> Counter[str]:
    """Return how many tasks of each dead worker were given back, as the log has it."""
    return Counter({name: int(n) for name, n in re.findall(r"worker (\S+) ended by .*: (\d+) tasks given back", log)})


def _of_runs(seen: Evidence, verdict: Verdict) -> list[Line]:
    finished = seen.tasks - len(verdict.lost)
    unacknowledged = [late for restart in verdict.restarts if (late := restart.unacknowledged) is not None]
    oldest = f", the longest {max(unacknowledged):.3f} s before" if unacknowledged else ""
    crashes = ", ".join(f"{tasks} in {n}" for n, tasks in sorted(verdict.crashes.items()))
    return [
        Line("kills", str(len(seen.kills))),
        Line("tasks that ran to their end", f"{finished} of {seen.tasks}", not verdict.lost),
        Line("runs", str(len(seen.runs))),
        Line("duplicates in flight at a kill", str(len(verdict.restarts))),
        Line("  of them ended, not acknowledged", f"{len(unacknowledged)}{oldest} (at most {ACK_TIME:g} s)"),
        Line("  tasks by crashes seen", crashes or "none"),
        Line("duplicates unexplained", str(len(verdict.unexplained)), not verdict.unexplained),
        Line("runs overlapping", str(len(verdict.overlapping)), not verdict.overlapping),
        Line("runs neither ended nor killed", str(len(verdict.unfinished)), not verdict.unfinished),
        Line("runs of strange tasks or attempts", str(len(verdict.strange)), not verdict.strange),
    ]


def _of_recovery(verdict: Verdict, most: float) -> list[Line]:
    waits = sorted(restart.seconds for restart in verdict.restarts)
    if not waits:
        return [Line("recovery", "nothing was in flight at a kill")]
    p50, p99 = (waits[min(len(waits) - 1, int(len(waits) * share))] for share in (0.5, 0.99))
    said = f"p50 {p50:.3f} s, p99 {p99:.3f} s, longest {waits[-1]:.3f} s (p99 at most {most:g} s)"
    return [Line("kill to new start", said, p99 <= most)]


def _of_others(seen: Evidence, most: float) -> list[Line]:
    died = {int(pid) for pid in re.findall(r"child \d+ \(pid (\d+), .*\) died", seen.log)}
    others = died - {kill.pid for kill in seen.kills}
    silence = longest_silence(seen.runs, seen.kills)
    return [
        Line("deaths of children not killed", str(len(others)), not others),
        Line("longest silence of a living child", f"{silence:.3f} s (at most {most:g} s)", silence <= most),
    ]


def _of_accounts(seen: Evidence, verdict: Verdict) -> list[Line]:
    """The parent's ledger must say the same as the handlers' and as Redis said at each recovery."""
    account = conservation(seen.log)
    if not account:
        return [Line("conservation", "the parent said nothing", right=False)]
    back = given_back(seen.log)
    logged = sum(back[kill.worker] for kill in seen.kills)
    silent = [kill for kill in seen.kills if kill.worker not in back]  # whoever gave these back was killed over it
    reruns = Counter(restart.kill.worker for restart in verdict.restarts)
    most = {kill.worker: back.get(kill.worker, seen.concurrency) for kill in seen.kills}
    within = logged <= account["given back"] <= logged + len(silent) * seen.concurrency
    ends = {end: account[end] for end in _ENDS}
    return [
        Line("claimed", f"{account['claimed']} = {_said(ends)}", account["claimed"] == sum(ends.values())),
        Line("claimed less given back", str(account["claimed"] - account["given back"]), ends["done"] == seen.tasks),
        Line("given back, by the log", f"{logged}, and {len(silent)} recoveries without a line", within),
        Line("  of them had started", str(reruns.total()), all(reruns[worker] <= most[worker] for worker in reruns)),
    ]


def _said(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "0"
