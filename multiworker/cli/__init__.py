"""The command line, one file a command. Importing this loads neither Redis, nor asyncio, nor Django."""

import gc
import importlib
import sys

from multiworker.worker.postponed import postponed

# urllib.parse and dataclasses import them for what no parent asks for, 1.5 MiB; from 3.12 on, dataclasses does ask.
with postponed("inspect", "ipaddress"):
    from multiworker.cli import secrets

__all__ = ["main"]

_PARENT, _COMMANDS = "multiworker.cli.begin", "multiworker.cli.root"
"""One of them is imported: a parent of workers never needs what the commands are made of, nor they the parent."""


def main() -> None:
    """Run the command line and exit."""
    secrets.hide(sys.argv)
    words = sys.argv[1:]
    if words[:2] == ["--", "start"]:
        del words[0]
    code: int
    if words[:1] == ["start"]:
        gc.disable()  # what is imported stays
        code = importlib.import_module(_PARENT).run(words[1:])
    else:
        code = importlib.import_module(_COMMANDS).run(words)
    sys.exit(code)
