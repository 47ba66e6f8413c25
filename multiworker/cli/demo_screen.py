"""What ``multiworker demo`` shows while tasks run: a progress bar on a terminal with rich, else plain lines."""

import importlib
import importlib.util
import os
import sys
import time
from types import ModuleType
from typing import Any, Protocol

BETWEEN = 0.5
"""Seconds between two plain lines of one phase, at least."""


class Screen(Protocol):
    """Where the demo speaks."""

    def say(self, line: str = "") -> None:
        """Show a line."""

    def begin(self, total: int) -> None:
        """Begin to show the progress of so many tasks."""

    def update(self, done: int, what: str) -> None:
        """Show how many tasks are done, and what runs where."""

    def finish(self) -> None:
        """The phase is over; may be called again."""


class PlainScreen:
    """Lines, of which none is ever changed."""

    def __init__(self) -> None:
        self._total = 0
        self._began = self._shown = 0.0
        self._last = ""

    def say(self, line: str = "") -> None:
        """Show a line."""
        print(line, flush=True)

    def begin(self, total: int) -> None:
        """Begin a phase."""
        self._total = total
        self._began = time.monotonic()
        self._shown, self._last = 0.0, ""

    def update(self, done: int, what: str) -> None:
        """Show a line, unless it is the last one again or comes too soon after it."""
        now = time.monotonic()
        line = f"{done:3} of {self._total} done   {what}".rstrip()
        if line == self._last or (now - self._shown < BETWEEN and done < self._total):
            return
        self._shown, self._last = now, line
        self.say(f"   {now - self._began:4.1f} s  {line}")

    def finish(self) -> None:
        """Nothing is to be cleared away."""


class RichScreen:
    """A bar that moves, drawn by rich.

    Args:
        progress: the module rich.progress.
    """

    def __init__(self, progress: ModuleType) -> None:
        self._rich = progress
        self._bar: Any = None
        self._task: Any = None

    def say(self, line: str = "") -> None:
        """Show a line, above the bar if there is one."""
        if self._bar is None:
            print(line, flush=True)
        else:
            self._bar.console.print(line, markup=False, highlight=False)

    def begin(self, total: int) -> None:
        """Draw a bar."""
        rich = self._rich
        columns = (
            rich.TimeElapsedColumn(),
            rich.BarColumn(20),
            rich.MofNCompleteColumn(),
            rich.TextColumn("{task.fields[what]}"),
        )
        self._bar = rich.Progress(rich.TextColumn("  "), *columns, auto_refresh=False)
        self._task = self._bar.add_task("", total=total, what="")
        self._bar.start()

    def update(self, done: int, what: str) -> None:
        """Move the bar."""
        self._bar.update(self._task, completed=done, what=what, refresh=True)

    def finish(self) -> None:
        """Leave the bar as it is and let go of the terminal."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def screen(*, plain: bool) -> Screen:
    """Return the screen that fits.

    Args:
        plain: lines are asked for.
    """
    fit = sys.stdout.isatty() and os.environ.get("TERM") not in (None, "", "dumb")
    if plain or not fit or importlib.util.find_spec("rich") is None:
        return PlainScreen()
    return RichScreen(importlib.import_module("rich.progress"))
