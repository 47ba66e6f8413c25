"""``multiworker start``, as this process lives it: as the parent, which has others read the command line."""

import importlib
from collections.abc import Sequence
from functools import partial

from multiworker.supervisor import main
from multiworker.worker.settings import Settings

_START = "multiworker.cli.start"
"""Imported only in a process of its own: the command line takes much that a parent never needs again."""


def run(arguments: Sequence[str]) -> int:
    """Be the parent until there is nothing left to do.

    Args:
        arguments: what stands after ``multiworker start``.

    Returns:
        The exit code.
    """
    return main.run(partial(_read, arguments, first=True), partial(_read, arguments, first=False))


def _read(arguments: Sequence[str], *, first: bool) -> Settings:
    start = importlib.import_module(_START)
    settings: Settings = start.read(arguments) if first else start.read_again(arguments)
    return settings
