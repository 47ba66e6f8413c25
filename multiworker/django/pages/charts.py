"""Charts as plain geometry, which a template draws as SVG: they need no script, and print."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.utils import timezone

from multiworker.django.pages import texts
from multiworker.worker.watch import Minute, Pulse, percentile

WIDTH, HEIGHT = 340, 150
LEFT, RIGHT, TOP, BOTTOM = 44, 6, 8, 22
"""Room for the axes' labels."""
_INNER, _TALL = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
_SECONDS = (0.001, 0.01, 0.1, 1.0, 10.0, 60.0, 600.0, 3600.0, 36_000.0, 864_000.0)
"""Marks of the axis of latencies, which is logarithmic."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A line across the chart, or a place on its lower edge, with a label.

    Args:
        at: its place.
        label: what stands there.
    """

    at: str
    label: str


@dataclass(frozen=True, slots=True)
class Bar:
    """A part of a column.

    Args:
        x: its left edge.
        y: its upper edge.
        width: of the column.
        height: of the part.
        kind: what it counts: done, retried, dead, waiting.
    """

    x: str
    y: str
    width: str
    height: str
    kind: str


@dataclass(frozen=True, slots=True)
class Column:
    """What a pointer finds above one minute.

    Args:
        x: its left edge.
        width: of it.
        text: what it says.
    """

    x: str
    width: str
    text: str


@dataclass(frozen=True, slots=True)
class Line:
    """A line, or dots where it has gaps on both sides.

    Args:
        path: SVG's.
        kind: p50 or p95.
    """

    path: str
    kind: str


@dataclass(frozen=True, slots=True)
class Chart:
    """One chart.

    Args:
        title: above it.
        unit: of its upright axis.
        summary: the same in words.
        legend: name and kind of each series.
        rows: marks of the upright axis.
        hours: marks of the lower axis.
        columns: one for each minute.
        bars: for counts.
        lines: for latencies.
        empty: there is nothing to show.
    """

    title: str
    unit: str
    summary: str
    legend: Sequence[tuple[str, str]]
    rows: list[Mark]
    hours: list[Mark]
    columns: list[Column]
    bars: list[Bar]
    lines: list[Line]
    empty: bool

    width, height, left, top = WIDTH, HEIGHT, LEFT, TOP
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    tall, middle, center = _TALL, LEFT + _INNER // 2, TOP + _TALL // 2


def ended(pulse: Pulse) -> Chart:
    """Draw how many runs ended in each minute, and how."""
    kinds = ("done", "retried", "dead")
    counts = [[minute.done, minute.retried, minute.dead] for minute in pulse.minutes]
    total = [sum(column) for column in zip(*counts, strict=True)]
    said = ", ".join(f"{texts.number(count)} {kind}" for count, kind in zip(total, kinds, strict=True))
    notes = [", ".join(f"{texts.number(n)} {kind}" for n, kind in zip(c, kinds, strict=True)) for c in counts]
    legend = tuple((kind, kind) for kind in kinds)
    return _columns("Runs ended", "a minute", f"In the last hour: {said}.", legend, pulse.minutes, counts, notes)


def waiting(pulse: Pulse) -> Chart:
    """Draw how many tasks waited."""
    counts = [[minute.waiting or 0] for minute in pulse.minutes]
    most = max(count for (count,) in counts)
    notes = ["unknown" if one.waiting is None else f"{texts.number(one.waiting)} waiting" for one in pulse.minutes]
    said = f"At most {texts.number(most)} in the last hour."
    return _columns(
        "Waiting", "at the end of each minute", said, (("waiting", "waiting"),), pulse.minutes, counts, notes
    )


def latency(pulse: Pulse) -> Chart:
    """Draw how long runs took, on a logarithmic axis."""
    shares = (("median", "p50", 0.5), ("95th percentile", "p95", 0.95))
    found = [[percentile(minute.latencies, share) for *_, share in shares] for minute in pulse.minutes]
    known = [value for pair in found for value in pair if value is not None]
    low, high = _decades(known)

    def height(value: float) -> float:
        return math.log(min(max(value, low), high) / low) / math.log(high / low)

    marks = [Mark(_y(height(mark)), texts.duration(mark)) for mark in _SECONDS if low <= mark <= high]
    lines = [Line(_path([pair[number] for pair in found], height), kind) for number, (_, kind, _) in enumerate(shares)]
    notes = [
        "no run"
        if pair[0] is None or pair[1] is None
        else f"half within {texts.duration(pair[0])}, 95 % within {texts.duration(pair[1])}"
        for pair in found
    ]
    worst = max((pair[1] for pair in found if pair[1] is not None), default=0.0)
    return Chart(
        "Handler time",
        "of a run",
        f"95 % of a minute's runs ended within {texts.duration(worst)} at most."
        if known
        else "No run in the last hour.",
        tuple((name, kind) for name, kind, _ in shares),
        marks,
        _hours(pulse.minutes),
        _over(pulse.minutes, notes),
        [],
        lines,
        not known,
    )


def _columns(
    title: str,
    unit: str,
    summary: str,
    legend: Sequence[tuple[str, str]],
    minutes: Sequence[Minute],
    counts: list[list[int]],
    notes: list[str],
) -> Chart:
    top, step = _scale(max(sum(column) for column in counts))
    width = _INNER / len(minutes)
    bars = []
    for number, column in enumerate(counts):
        below = 0
        for count, (_, kind) in zip(column, legend, strict=True):
            if count:
                tall = max(count / top * _TALL, 0.8)
                x, y = LEFT + number * width + width * 0.1, HEIGHT - BOTTOM - below / top * _TALL - tall
                bars.append(Bar(_at(x), _at(y), _at(width * 0.8), _at(tall), kind))
                below += count
    rows = [Mark(_y(value / top), _short(value)) for value in range(0, top + 1, step)]
    hours, over = _hours(minutes), _over(minutes, notes)
    return Chart(title, unit, summary, legend, rows, hours, over, bars, [], not bars)


def _scale(most: int) -> tuple[int, int]:
    """Return a round upper end of an axis, and the distance of its marks: two to five of them."""
    rough = max(most, 4) / 4
    power = 10 ** math.floor(math.log10(rough))
    step = next(int(power * factor) for factor in (1, 2, 5, 10) if power * factor >= rough and power * factor >= 1)
    return step * math.ceil(max(most, 1) / step), step


def _decades(values: Sequence[float]) -> tuple[float, float]:
    """Return the marks around some latencies."""
    low = max((mark for mark in _SECONDS if mark <= min(values, default=0.01)), default=_SECONDS[0])
    high = min((mark for mark in _SECONDS if mark >= max(values, default=1.0)), default=_SECONDS[-1])
    return (low, high) if low < high else (low, _SECONDS[min(_SECONDS.index(low) + 1, len(_SECONDS) - 1)])


def _path(values: Sequence[float | None], height: Callable[[float], float]) -> str:
    width, parts, pen = _INNER / len(values), [], "M"
    for number, value in enumerate(values):
        if value is None:
            pen = "M"
            continue
        x, y = _at(LEFT + (number + 0.5) * width), _y(height(value))
        lonely = pen == "M" and (number + 1 == len(values) or values[number + 1] is None)
        parts.append(f"{pen}{x} {y}" + ("h0.01" if lonely else ""))  # round ends make a dot of it
        pen = "L"
    return "".join(parts)


def _hours(minutes: Sequence[Minute]) -> list[Mark]:
    width = _INNER / len(minutes)
    quarters = [(number, one.start) for number, one in enumerate(minutes) if one.start.minute % 15 == 0]
    return [Mark(_at(LEFT + number * width), _clock(start)) for number, start in quarters]


def _over(minutes: Sequence[Minute], notes: Sequence[str]) -> list[Column]:
    width = _INNER / len(minutes)
    return [
        Column(_at(LEFT + number * width), _at(width), f"{_clock(one.start)}: {note}")
        for number, (one, note) in enumerate(zip(minutes, notes, strict=True))
    ]


def _clock(when: datetime) -> str:
    return f"{timezone.localtime(when):%H:%M}"


def _short(count: int) -> str:
    for unit, letter in ((10**9, "G"), (10**6, "M"), (1000, "k")):
        if count >= unit:
            return f"{count / unit:g}\u202f{letter}"
    return str(count)


def _y(share: float) -> str:
    return _at(HEIGHT - BOTTOM - share * _TALL)


def _at(place: float) -> str:
    """Return a coordinate, whatever the language of the page."""
    return f"{place:.2f}".rstrip("0").rstrip(".")
