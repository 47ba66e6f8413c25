"""Keeps passwords in Redis URLs out of what others can see: the list of processes, and error messages."""

import importlib
import re
from collections.abc import Sequence

from multiworker.worker.addresses import redacted
from multiworker.worker.logs import without_secrets

_SECRET_URL = re.compile(r"(--[\w-]+=)?([a-z][a-z+]*:.*[@?].*)", re.DOTALL)


def hide(argv: Sequence[str]) -> None:
    """Show this process without passwords in the list of processes, as soon as it runs.

    Args:
        argv: the whole command line.
    """
    shown = [_hidden(argument) for argument in argv]
    if shown != list(argv):
        importlib.import_module("setproctitle").setproctitle(" ".join(shown))


def scrub(text: str, arguments: Sequence[str]) -> str:
    """Take passwords out of a message.

    Args:
        text: what may quote an argument.
        arguments: the command line, which may hold URLs too broken to be recognised in a text.
    """
    for argument in arguments:
        hidden = _hidden(argument)
        if hidden != argument:
            text = text.replace(argument, hidden)
    return without_secrets(text)


def _hidden(argument: str) -> str:
    match = _SECRET_URL.fullmatch(argument)
    if not match:
        return argument
    url = match[2]
    shown = redacted(url) if "://" in url else "***"
    return (match[1] or "") + ("***" if "@" in shown.replace("***@", "") else shown)
