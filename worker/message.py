"""Frames and payloads: what lies in Redis, and what a handler gets to see of it.

A payload is whatever bytes somebody pushed. A frame is what the workers keep of it: one header line (task id, attempt,
crashes), then the payload, byte for byte. Payloads are hostile: nothing in one is imported, formatted or obeyed.
"""

import json
import re
from dataclasses import dataclass
from typing import Any

import msgspec

from multiworker.worker.errors import PayloadError, Reason

MAX_DEPTH = 32
"""Levels of objects and arrays in a payload."""
MAX_TYPE = 200
"""Characters in a task's type, and in the id that a producer may give it."""
SUSPECT = 2
"""Crashes from which on a task runs alone; SUSPECT_AFTER in lua/prelude.lua."""

_FORBIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # control characters, which break logs and terminals
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # bidirectional marks, which make text read as what it is not
    "\u2028\u2029\ufeff]"  # line separators and the byte order mark
)
_HEADER = re.compile(rb"([A-Za-z0-9.:_-]{1,500}) (\d{1,9}) (\d{1,9})(?: (\d{1,12}))?(?: p-?\d{1,3}\.\d{1,13})?")
_KEY_END = re.compile(rb'"\s*:')
_decode_json = msgspec.json.Decoder().decode


@dataclass(slots=True)
class Frame:
    """A claimed element: the header that only workers write, and the raw payload.

    Args:
        id: the task's id, kept over retries.
        attempt: which run this is, from 1.
        crashes: how many processes died with this task in flight.
        payload: the raw list element; only its head if size is set.
        size: bytes of a payload too large to travel, else None.
    """

    id: str
    attempt: int
    crashes: int
    payload: bytes
    size: int | None = None


def parse_frame(raw: bytes) -> Frame:
    """Split a frame as the scripts wrote it.

    Args:
        raw: the bytes of one in-flight, scheduled or suspect entry. The scripts put a header before anything that has
            none, so one that cannot be read was forged by somebody who may write our keys; it counts as a first run.
    """
    header, _, payload = raw.partition(b"\n")
    match = _HEADER.fullmatch(header)
    if not match:
        return Frame("?", 1, 0, payload)
    task_id, attempt, crashes, size = match.groups()
    return Frame(task_id.decode(), int(attempt), int(crashes), payload, int(size) if size else None)


def decode(payload: bytes) -> dict[str, Any]:
    """Decode a payload into a task, or say why it is none.

    Args:
        payload: the raw list element.

    Returns:
        The whole JSON object; ``type`` is a valid string, unknown keys are kept.

    Raises:
        PayloadError: with the dead-letter reason.
    """
    task = decode_object(payload)
    check_type(task)
    return task


def decode_object(payload: bytes) -> dict[str, Any]:
    """Decode a payload into a JSON object whose type has not been looked at.

    Raises:
        PayloadError: with the dead-letter reason.
    """
    try:
        task = _decode_json(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError):
        raise _why_not_json(payload) from None
    if type(task) is not dict:
        raise PayloadError(Reason.NOT_OBJECT, "the JSON text is not an object")
    data = task.get("data")
    keys = len(task) + len(data) if type(data) is dict else len(task)
    # Else every key is seen: deeper objects have none, so only arrays can nest, around one empty object at most.
    if keys != payload.count(b":") or payload.count(b"[") > MAX_DEPTH - 3:
        _check_structure(task, payload)
    return task


def check_type(task: dict[str, Any]) -> None:
    """Refuse a task without a valid type.

    Raises:
        PayloadError: with the dead-letter reason.
    """
    kind = task.get("type")
    if type(kind) is not str:
        if "type" in task:
            raise PayloadError(Reason.BAD_TYPE, "the type is not a string")
        raise PayloadError(Reason.NO_TYPE, "the object has no type")
    if not valid_name(kind):
        raise PayloadError(
            Reason.BAD_TYPE, f"a type has 1-{MAX_TYPE} characters, none of them control or bidirectional"
        )


def valid_name(name: str) -> bool:
    """Tell whether a text may be a task's type or id.

    Args:
        name: the text.

    Returns:
        True if it has 1-200 characters, none of them control or bidirectional characters.
    """
    return 0 < len(name) <= MAX_TYPE and _FORBIDDEN.search(name) is None


def _why_not_json(payload: bytes) -> PayloadError:
    try:
        text = payload.decode()
    except UnicodeDecodeError as error:
        return PayloadError(Reason.NOT_UTF8, f"invalid UTF-8 at byte {error.start}")
    if _nesting(text) > MAX_DEPTH:
        return PayloadError(Reason.TOO_DEEP, f"more than {MAX_DEPTH} levels")
    return PayloadError(Reason.NOT_JSON, "not one valid JSON text")


def _nesting(text: str) -> int:
    """Return how deep brackets nest, strings left out; for telling 'too deep' from 'not JSON'."""
    depth = deepest = 0
    # Possessive, and content with a string that has no end: a payload of quotes must not cost its length squared.
    for token in re.finditer(r'"(?:[^"\\]++|\\.)*+"?|[\[{]|[\]}]', text):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(token[0], 0)
        deepest = max(deepest, depth)
        if deepest > MAX_DEPTH:
            break
    return deepest


def _check_structure(task: dict[str, Any], payload: bytes) -> None:
    """Refuse what the fast decoder lets through: deep nesting, and keys named twice, of which it keeps the last.

    Every key in the text brings one colon, after a quote. With no more of these than keys were kept, none was lost;
    colons inside strings can only make them more, and then the strict reader decides.
    """
    keys = _count_keys(task)
    if keys != payload.count(b":") and keys != len(_KEY_END.findall(payload)):
        json.loads(payload, object_pairs_hook=_unique)


def _count_keys(task: dict[str, Any]) -> int:
    """Count the keys of all objects, level by level; refuse more than MAX_DEPTH levels."""
    keys = 0
    level: list[Any] = [task]
    for _ in range(MAX_DEPTH):
        deeper: list[Any] = []
        for node in level:
            if type(node) is dict:
                keys += len(node)
                node = node.values()  # noqa: PLW2901
            for value in node:
                kind = type(value)
                if kind is dict or kind is list:
                    deeper.append(value)
        if not deeper:
            return keys
        level = deeper
    raise PayloadError(Reason.TOO_DEEP, f"more than {MAX_DEPTH} levels")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        raise PayloadError(Reason.DUPLICATE_KEY, "an object names one key twice")
    return result
