"""What is wrong with the project's settings, as Django's system checks tell it."""

import difflib
from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """Something that is wrong.

    Args:
        id: of Django's system check, without the app's label.
        text: what is wrong and where; never a password.
        hint: what to do.
    """

    id: str
    text: str
    hint: str | None = None

    def __str__(self) -> str:
        return self.text + (f"; {self.hint}" if self.hint else "")


def near(key: str, known: Collection[str]) -> str:
    """Return the hint for a key that there is not.

    Args:
        key: as it is written, in upper case.
        known: those that there are.
    """
    found = difflib.get_close_matches(key, known, n=1)
    return f'did you mean "{found[0]}"?' if found else f"there are {', '.join(known)}"
