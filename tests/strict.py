"""A plain, strict reader of JSON and of frames, written for clarity, for the fast ones to be compared with."""

import json
import math
from typing import Any

from multiworker.worker.errors import PayloadError, Reason
from multiworker.worker.message import MAX_DEPTH, Frame, decode, parse_frame, valid_name

ID = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.:_-")


def refuse(text: str) -> Any:
    raise ValueError(text)


def finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else refuse(text)


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return dict(pairs) if len(dict(pairs)) == len(pairs) else refuse("duplicate")


def depth(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(depth, inner), default=0)


def read(payload: bytes) -> dict[str, Any] | None:
    """Return what a payload is by the letter: the task, or None if it is none."""
    try:
        text = payload.decode()
        value = json.loads(text, parse_constant=refuse, parse_float=finite, object_pairs_hook=unique)
        json.dumps(value, ensure_ascii=False).encode()  # lone surrogates cannot be
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or depth(value) > MAX_DEPTH:
        return None
    kind = value.get("type")
    return value if isinstance(kind, str) and valid_name(kind) else None


def judged(payload: bytes) -> dict[str, Any] | None:
    """Return what the worker makes of a payload; anything but a PayloadError with a Reason comes through."""
    try:
        return decode(payload)
    except PayloadError as error:
        if error.reason not in set(Reason) or not str(error).isprintable():
            raise TypeError(f"a payload error without a reason, or with text of the payload: {error!r}") from error
        return None


def check(payload: bytes) -> None:
    """See that both readers agree; repr tells 1 from 1.0 and True, and 0.0 from -0.0."""
    ours, letter = repr(judged(payload)), repr(read(payload))
    assert ours == letter, f"{payload!r} is {ours}, and by the letter {letter}"


def read_frame(raw: bytes) -> Frame:
    """Return a frame by the letter."""
    head, _, payload = raw.partition(b"\n")
    fields = head.split(b" ")
    most = (500, 9, 9, 12)
    plain = len(fields) in {3, 4} and all(0 < len(field) <= m for field, m in zip(fields, most, strict=False))
    if not plain or not ID.issuperset(fields[0]) or not all(set(field) <= set(b"0123456789") for field in fields[1:]):
        return Frame("?", 1, 0, payload)
    attempt, crashes, *size = map(int, fields[1:])
    return Frame(fields[0].decode(), attempt, crashes, payload, size[0] if size else None)


def check_frame(raw: bytes) -> None:
    """See that both agree on a frame, whatever it is."""
    assert repr(parse_frame(raw)) == repr(read_frame(raw)), raw
