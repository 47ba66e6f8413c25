"""How things are written on the pages. Texts out of Redis are hostile: here they get bounded and lose their tricks.

They are plain text all the same, which the templates escape.
"""

import itertools
import json
from typing import Any

from multiworker.worker.logs import visible

SHOWN = 64 * 1024
"""Bytes of a payload that a page shows."""
_SIZES = ((1024**3, "GiB"), (1024**2, "MiB"), (1024, "KiB"))
_TIMES = ((86400, "d"), (3600, "h"), (60, "min"))


def clean(text: object, most: int = 200) -> str:
    """Return a text as one line of at most so many characters, in which nothing is invisible."""
    whole = visible(str(text)[: most + 1])
    return whole if len(whole) <= most else whole[: most - 1] + "…"


def lines(text: str, most: int = SHOWN) -> str:
    """Return a text with its line breaks and tabs, in which nothing else is invisible."""
    return visible(text[:most], keep="\n\t")


def payload(raw: bytes, task: dict[str, Any] | None) -> str:
    """Return a payload to look at: laid out if it is a task, else as it is.

    Args:
        raw: the payload, or its head.
        task: the same, decoded; None if it is no task.
    """
    if task is not None and len(raw) <= SHOWN:
        return lines(json.dumps(task, ensure_ascii=False, indent=2), 8 * SHOWN)
    return lines(raw[:SHOWN].decode("utf-8", "backslashreplace"))


def size(count: float) -> str:
    """Return a number of bytes, such as ``1.4 MiB``."""
    for unit, name in _SIZES:
        if count >= unit:
            return f"{count / unit:.1f} {name}" if count < 100 * unit else f"{count / unit:.0f} {name}"
    return f"{count:.0f} B"


def duration(seconds: float) -> str:
    """Return a time, such as ``12 ms``, ``3.4 s``, ``5 min 10 s`` or ``2 d 4 h``."""
    if seconds < 0.9995:
        return f"{max(0.0, seconds) * 1000:.0f} ms"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    units = [*_TIMES, (1, "s")]
    for (unit, name), (lower, lower_name) in itertools.pairwise(units):
        if seconds >= unit:
            count, rest = divmod(round(seconds / lower) * lower, unit)
            return f"{count} {name} {rest // lower} {lower_name}" if rest else f"{count} {name}"
    return "1 min"


def number(count: float) -> str:
    """Return a number with thin spaces between its thousands."""
    return f"{count:,.0f}".replace(",", "\u202f")


def rate(per_second: float) -> str:
    """Return how often something happens, by the second or, if that is rare, by the minute."""
    if per_second >= 99.5:
        return f"{number(per_second)}/s"
    if per_second >= 0.95 or not per_second:
        return f"{per_second:.1f}/s" if per_second else "0/s"
    return f"{per_second * 60:.1f}/min"
