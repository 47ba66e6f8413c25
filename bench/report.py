"""Tables for the terminal and for Markdown, which are the same text, and the report in JSON."""

import math
import statistics
from collections.abc import Sequence
from typing import Any

from bench.bars import ratios
from bench.contenders import CONTENDERS, US
from bench.figures import KINDS, Bar, Run
from bench.limits import LIMITS

TABLES = {
    "Throughput": ("noop", "wide", "nap", "burn", "blob", "burst"),
    "Latency and enqueueing": ("p50", "p99", "single", "bulk", "start"),
    "Cost": ("memory", "memory_loaded", "commands", "restart"),
}
"""The figures of each table."""
_DELIVERY = {contender.name: contender.delivery for contender in CONTENDERS}
_BOUNDS = tuple(dict.fromkeys(name for names in LIMITS.values() for name in names))


def cell(values: Sequence[float], digits: int) -> str:
    """Say the median, and from where to where the values go."""
    if not values:
        return ""
    middle = _number(statistics.median(values), digits)
    ends = [_number(end, digits) for end in (min(values), max(values))]
    return middle if ends[0] == ends[1] else f"{middle} ({ends[0]} to {ends[1]})"


def _number(value: float, digits: int) -> str:
    return f"{value:,.{digits}f}" if math.isfinite(value) else "not seen"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay out a table so that it reads well as it is, too."""
    lines = [head, ["-"] * len(head), *rows]
    widths = [max(len(line[column]) for line in [head, *rows]) for column in range(len(head))]
    lines[1] = ["-" * width for width in widths]
    padded = [[text.ljust(width) for text, width in zip(line, widths, strict=True)] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in padded)


def _figures(run: Run, keys: Sequence[str]) -> str:
    known = [key for key in keys if key in run.figures]
    names = [contender.name for contender in CONTENDERS] + list(_BOUNDS)
    measured = [name for name in names if any(run.of(key, name) for key in known)]
    rows = [
        [_shown(name), _DELIVERY.get(name, ""), *[cell(run.of(key, name), KINDS[key].digits) for key in known]]
        for name in measured
    ]
    return table(["", "delivery", *[f"{KINDS[key].title}, {KINDS[key].unit}" for key in known]], rows)


def _shown(name: str) -> str:
    return f"*{name}*" if name in _BOUNDS else name


def _promises(versions: dict[str, str]) -> str:
    rows = [
        [one.name, versions[one.name], one.delivery, one.after_kill, one.note]
        for one in CONTENDERS
        if one.name in versions
    ]
    return table(["", "version", "delivery", "tasks of a killed process, by default", "set up"], rows)


def _own(run: Run) -> str:
    shown = {key for keys in TABLES.values() for key in keys}
    keys = [key for key in KINDS if key not in shown and run.of(key)]
    rows = [[KINDS[key].title, cell(run.of(key), KINDS[key].digits), KINDS[key].unit] for key in keys]
    return table(["multiworker alone", "", ""], rows) if rows else ""


def markdown(run: Run, bars: Sequence[Bar], versions: dict[str, str], machine: dict[str, Any]) -> str:
    """Write the whole report.

    Args:
        run: the figures.
        bars: what is asked for.
        versions: of the contenders that took part.
        machine: what it ran on.
    """
    where = ", ".join(f"{name} {value}" for name, value in machine.items())
    parts = [f"Median of the rounds, and from where to where they go; limits in italics. {where}.", _promises(versions)]
    for title, keys in TABLES.items():
        if any(key in run.figures for key in keys):
            parts += [f"### {title}", _figures(run, keys)]
    parts.append(_own(run))
    if held := ratios(run):
        rows = [[title, limit, f"{100 * ratio:.0f} %"] for title, limit, ratio in held]
        parts.append(table([f"{US} against the limits", "", ""], rows))
    if run.failures:
        parts.append(
            "\n".join(f"failed: {one['who']}, {one['load']}: {one['error'].splitlines()[0]}" for one in run.failures)
        )
    if bars:
        parts.append("```text\n" + "\n".join(str(bar) for bar in bars) + "\n```")
    return "\n\n".join(part for part in parts if part) + "\n"


def document(run: Run, bars: Sequence[Bar], versions: dict[str, str], machine: dict[str, Any]) -> dict[str, Any]:
    """Return the report as plain data; what is infinite is null."""
    figures = {
        key: {who: [value if math.isfinite(value) else None for value in values] for who, values in found.items()}
        for key, found in run.figures.items()
    }
    promises = {
        one.name: {"version": versions[one.name], "delivery": one.delivery, "after_kill": one.after_kill}
        for one in CONTENDERS
        if one.name in versions
    }
    return {
        "machine": machine,
        "contenders": promises,
        "units": {key: KINDS[key].unit for key in figures},
        "figures": figures,
        "bars": [
            {"name": bar.name, "value": bar.value, "limit": bar.limit, "most": bar.most, "passed": bar.passed}
            for bar in bars
        ],
        "failures": run.failures,
    }
