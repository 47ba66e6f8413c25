"""``multiworker status``: a running parent and its children, read from its scoreboard; the parent need not answer."""

import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import click
import psutil

from multiworker.cli.facts import ChildFacts, ParentFacts, Usage, facts
from multiworker.cli.instances import Instance, choose, instance_options
from multiworker.cli.output import json_option, say, say_json, say_table
from multiworker.cli.root import HELP, Failure
from multiworker.worker.errors import Exit

SAMPLE = 0.5
"""Seconds between two looks at the page, for what is counted in a second."""
HUNG = 5.0
"""Seconds without a pass after which the parent is said to hang; it makes one each quarter of a second."""
_LEFT = {"state", "last exit"}  # columns of texts
_LEAST_WANTED = ("back", "last exit", "redis", "beat", "restarts", "gen", "retried", "dead", "cpu", "rss")


@click.command(context_settings=HELP)
@instance_options
@json_option
def status(*, name: str | None, pid: int | None, as_json: bool) -> int:
    """Show a running parent and its children. A parent that was killed is shown while its page is there."""
    instance = choose(name, pid, gone=True)
    found = look(instance)
    if as_json:
        say_json(document(found))
    else:
        show(found)
    return Exit.OK if found.state != "dead" else Exit.TEMPFAIL


def look(instance: Instance) -> ParentFacts:
    """Look at an instance twice, SAMPLE seconds apart."""
    before, begun = instance.board.copy(), time.monotonic()
    processes = {pid: psutil.Process(pid) for pid in instance.children()}
    _usages(processes)
    time.sleep(SAMPLE)
    board, now = instance.board.copy(), time.monotonic_ns()
    alive = not instance.has_ended()
    if not alive and not instance.board.path.exists():  # it took its page along
        raise Failure(f"{instance.spoken} has ended just now", Exit.TEMPFAIL)
    usages = _usages({pid: processes.get(pid) or psutil.Process(pid) for pid in instance.children()})
    return facts(instance.name, board, before, now, time.monotonic() - begun, usages, alive=alive)


def _usages(processes: dict[int, psutil.Process]) -> dict[int, Usage]:
    """Return what the kernel says of processes; the CPU use is since the last call."""
    found = {}
    for pid, process in processes.items():
        try:
            with process.oneshot():
                found[pid] = Usage(process.memory_info().rss, process.cpu_percent())
        except psutil.Error:  # it has ended just now
            continue
    return found


def document(found: ParentFacts) -> dict[str, Any]:
    """Return the JSON of an instance; docs/operations.md explains it."""
    fields = asdict(found)
    fields["last_reload"] = fields.pop("reload")
    fields["children"] = fields.pop("children")
    return fields


def show(found: ParentFacts) -> None:
    """Print an instance for people."""
    for line in summary(found):
        say(line)
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    head, rows = table(found.children, width)
    if rows:
        say_table(head, rows, [len(cell) for cell in head])


def summary(found: ParentFacts) -> list[str]:
    """Return the lines above the table."""
    who = f"multiworker {found.name}" if found.name else "multiworker"
    tasks = found.tasks
    if found.state == "dead":
        alive = sum(child.rss is not None for child in found.children)
        left = f"{alive} of its children still drain" if alive else "none of its children is left"
        first = f"{who}: the parent, pid {found.pid}, was killed or crashed; {left}"
    else:
        generation = f"generation {found.generation_wanted}"
        if found.state == "reloading":
            generation += f" after {found.generation_good}"
        ready = f"{found.ready} of {found.wanted} children ready"
        first = f"{who}: {found.state}, pid {found.pid}, up {spell(found.uptime)}, {generation}, {ready}"
    lines = [first]
    if found.state != "dead" and found.pass_age > HUNG:
        lines.append(f"the parent hangs: it has not looked after its children for {spell(found.pass_age)}")
    if found.reload:
        reason = f": {found.reload.reason}" if found.reload.reason else ""
        lines.append(f"last reload: {found.reload.outcome} {spell(found.reload.age)} ago{reason}")
    ends = ", ".join(f"{tasks[end]} {end.replace('_', ' ')}" for end in ("done", "retried", "dead", "given_back"))
    lines.append(f"tasks: {found.tasks_per_second:g}/s, {tasks['in_flight']} in flight, {ends}")
    return lines


def table(children: Sequence[ChildFacts], width: int | None) -> tuple[list[str], list[list[str]]]:
    """Return head and rows, padded; columns that do not fit are left out, the least wanted first.

    Args:
        children: a row each.
        width: columns of the terminal; None for no limit.
    """
    cells = [_cells(child) for child in children]
    if not cells:
        return [], []
    widths = {name: max(len(name), *(len(row[name]) for row in cells)) for name in cells[0]}
    for name in _LEAST_WANTED:
        if width is None or sum(widths.values()) + 2 * (len(widths) - 1) <= width:
            break
        del widths[name]

    def padded(name: str, text: str) -> str:
        return text.ljust(widths[name]) if name in _LEFT else text.rjust(widths[name])

    head = [padded(name, name) for name in widths]
    return head, [[padded(name, row[name]) for name in widths] for row in cells]


def _cells(child: ChildFacts) -> dict[str, str]:
    gone = child.pid is None
    ended = f" {spell(child.last_exit_age)} ago" if child.last_exit_age is not None else ""
    return {
        "slot": str(child.slot),
        "pid": _shown(child.pid),
        "gen": _shown(child.generation),
        "state": child.state,
        "up": spell(child.uptime),
        "beat": spell(child.beat_age),
        "redis": spell(child.redis_age),
        "busy": "-" if gone else str(child.in_flight),
        "tasks/s": "-" if child.tasks_per_second is None else f"{child.tasks_per_second:.0f}",
        "done": "-" if gone else str(child.done),
        "retried": "-" if gone else str(child.retried),
        "dead": "-" if gone else str(child.dead),
        "back": "-" if gone else str(child.given_back),
        "cpu": "-" if child.cpu is None else f"{child.cpu:.0f}%",
        "rss": "-" if child.rss is None else f"{child.rss / 2**20:.0f}M",
        "restarts": str(child.restarts),
        "last exit": (child.last_exit or "-") + ended,
    }


def _shown(value: int | None) -> str:
    return "-" if value is None else str(value)


def spell(seconds: float | None) -> str:
    """Return a time of at most five characters, such as ``0.4s``, ``59s``, ``12m``, ``47h`` or ``120d``.

    Args:
        seconds: None for none.
    """
    if seconds is None:
        return "-"
    if seconds < 10:
        return f"{seconds:.1f}s"
    for unit, size, most in (("s", 1, 120), ("m", 60, 7200), ("h", 3600, 172_800)):
        if seconds < most:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds / 86400:.0f}d"
