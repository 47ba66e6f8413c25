"""The chart for the README. Needs matplotlib, of the `bench` extra."""

import math
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from bench.contenders import CONTENDERS, US
from bench.figures import KINDS, Run

PANELS = ("noop", "wide", "p99", "bulk", "memory", "start")
OURS, KEEPS, LOSES, INK = "#2f81f7", "#8b949e", "#c9a26b", "#768390"
"""Of a middle lightness, so that they can be read on white and on black."""
_KEEPS = {contender.name: contender.keeps for contender in CONTENDERS}
_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "multiworker",
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "ytick.color": INK,
}


def draw(run: Run, path: Path) -> None:
    """Draw a panel for each of the main figures.

    Args:
        run: the figures.
        path: the SVG file.
    """
    panels = [key for key in PANELS if len(run.ranked(key)) > 1]
    if not panels:
        return
    with mpl.rc_context(_STYLE):
        rows = math.ceil(len(panels) / 2)
        figure: Any = Figure(figsize=(10, 0.5 + 2.9 * rows), layout="constrained")
        figure.get_layout_engine().set(w_pad=0.15, h_pad=0.12)
        axes = list(figure.subplots(rows, 2, squeeze=False).flat)
        for axis in axes:
            axis.set_axis_off()
        for axis, key in zip(axes, panels, strict=False):
            _panel(axis, run, key)
        figure.text(0.5, -0.01, "sand: loses the tasks of a killed process by design", ha="center", va="top", size=9)
        figure.savefig(path, format="svg", transparent=True, bbox_inches="tight", metadata={"Date": None})


def _panel(axis: Any, run: Run, key: str) -> None:
    kind, found = KINDS[key], run.ranked(key)
    values = [value for _, value in found]
    axis.set_axis_on()
    drawn = axis.barh([name for name, _ in found], values, height=0.68, color=[_colour(name) for name, _ in found])
    axis.bar_label(drawn, [f"{value:,.{kind.digits}f}" for value in values], padding=4, color=INK)
    axis.set_title(
        f"{kind.title}, {kind.unit} ({'less' if kind.low else 'more'} is better)", loc="left", size=11, weight="bold"
    )
    axis.set_xlim(0, max(values) * 1.18)
    axis.xaxis.set_visible(False)
    axis.tick_params(axis="y", length=0)
    axis.spines[:].set_visible(False)
    axis.patch.set_alpha(0)
    for label in axis.get_yticklabels():
        if label.get_text() == US:
            label.set(weight="bold", color=OURS)


def _colour(name: str) -> str:
    if name == US:
        return OURS
    return KEEPS if _KEEPS[name] else LOSES
