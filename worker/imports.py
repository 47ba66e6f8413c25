"""Where modules are looked for, in children and in what else imports the project's code."""

import os
import sys
from pathlib import Path

PATH_VARIABLE = "MULTIWORKER_SYS_PATH"
"""Holds the whole sys.path of a manage.py that became the parent; entries are separated as in PATH."""


def take_over_path() -> None:
    """Look where manage.py looked; without one, in the working directory first."""
    path = os.environ.get(PATH_VARIABLE)
    if path is not None:
        sys.path[:] = path.split(os.pathsep)
    elif "" not in sys.path:
        sys.path.insert(0, str(Path.cwd()))


def path_to_hand_over() -> str:
    """Return this process's sys.path as it stands in that variable; without relative parts, for others may move."""
    return os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path)
