"""The Lua scripts, read once from lua/*.lua; each with the prelude before it."""

import hashlib
from functools import cache
from pathlib import Path
from typing import NamedTuple

OF_CHILDREN = ("register", "step", "reconcile", "recover", "upkeep", "drained", "card", "record")
"""The names of those that children call."""
SCRIPTS = (
    *OF_CHILDREN,
    *("schedule", "expect"),
    *("depths", "peek", "purge", "letters", "requeue", "discard"),
    *("cards", "pulse", "search", "delayed", "find"),
)
"""The names of all scripts."""
_FOLDER = Path(__file__).with_name("lua")


class Script(NamedTuple):
    """One operation.

    Args:
        text: the Lua source, prelude included.
        sha: its SHA-1 as Redis names it in EVALSHA.
    """

    text: str
    sha: str


@cache
def script(name: str) -> Script:
    """Return a script by its file's name.

    Args:
        name: such as ``step``.

    Raises:
        FileNotFoundError: there is none of that name.
    """
    text = "\n".join((_FOLDER / f"{part}.lua").read_text("utf-8") for part in ("prelude", name))
    return Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())
