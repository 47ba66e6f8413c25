"""From arguments to payloads: tasks are checked here as a worker would, so that none is sent only to be dead-lettered.

What `data` may be, and what it becomes in JSON: None, bool, int, float, str, list and dict as they are; tuple, set and
frozenset an array; a dataclass, attrs object, msgspec.Struct or TypedDict an object; datetime, date and time ISO 8601
text; timedelta ISO 8601 duration text; UUID and Decimal text; an Enum its value; bytes base64 text. Keys of a dict may
be text, numbers, UUIDs, dates and Enums; they become text. Everything else is refused, and so are NaN and Infinity.
"""

import json
import os
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

import msgspec

from multiworker.worker import commands
from multiworker.worker.commands import Command
from multiworker.worker.errors import MAX_DELAY, EncodeError, PayloadError, Reason
from multiworker.worker.keys import Keys
from multiworker.worker.message import MAX_TYPE, decode, valid_name

CHUNK = 1000
"""Tasks in one round trip, at most."""
CHUNK_BYTES = 1024 * 1024
"""Bytes of payload in one round trip, unless a single task has more."""
MAX_PRIORITY = 100
"""The highest priority; its negative is the lowest."""
_FRAME_ID = re.compile(r"[A-Za-z0-9.:_-]+")


class Ready(NamedTuple):
    """A task that can be sent.

    Args:
        id: its id.
        payload: as it lies in Redis.
    """

    id: str
    payload: bytes


class Terms(NamedTuple):
    """How tasks are sent.

    Args:
        queue: the list.
        delay_ms: milliseconds to put them off.
        priority: of all of them, -100 to 100; higher ones run first.
    """

    queue: str
    delay_ms: int = 0
    priority: int = 0


def _plain(value: object) -> object:
    """Encode what msgspec does not know: subclasses of text and numbers, such as Django's SafeString."""
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int) and not isinstance(value, bool):  # True is a key here, and "1" would say something else
        return int.__index__(value)
    if isinstance(value, float):
        return float.__float__(value)
    raise TypeError(f"a value or key of type {type(value).__module__}.{type(value).__qualname__} has no form in JSON")


_encode_json = msgspec.json.Encoder(enc_hook=_plain).encode


def encode(type: str, data: Any, id: str | None, max_payload: int) -> Ready:  # noqa: A002
    """Encode a task as it lies in Redis.

    Args:
        type: the task's type.
        data: see the head of this module; None is left out.
        id: the task's id; None draws one.
        max_payload: bytes that it may have.

    Raises:
        EncodeError: a worker would dead-letter it, or the data has no form in JSON.
        ValueError: the id is none.
    """
    if not isinstance(type, str):
        raise EncodeError(Reason.BAD_TYPE, "the type is not a string")
    if id is None:
        id = fresh_id()  # noqa: A001
    elif not _is_id(id):
        raise ValueError(f"an id has 1-{MAX_TYPE} characters, none of them control or bidirectional")
    task = {"id": id, "type": type} if data is None else {"id": id, "type": type, "data": data}
    try:
        payload = _encode_json(task)
    except RecursionError:
        raise EncodeError(Reason.TOO_DEEP, "the data contains itself, or is nested far too deep") from None
    except UnicodeEncodeError:
        raise EncodeError(Reason.NOT_UTF8, "a text holds half of a surrogate pair") from None
    except (TypeError, ValueError) as error:
        raise EncodeError(Reason.NOT_JSON, str(error)) from None
    verify(payload, max_payload)
    if b"null" in payload:
        _refuse_nan(data)
    return Ready(id, payload)


def _is_id(value: object) -> bool:
    return isinstance(value, str) and valid_name(value)


def verify(payload: bytes, max_payload: int) -> dict[str, Any]:
    """Check a payload as a worker would.

    Args:
        payload: the whole list element.
        max_payload: bytes that it may have.

    Returns:
        The task.

    Raises:
        EncodeError: a worker would dead-letter it, whatever its handlers are.
    """
    if len(payload) > max_payload:
        raise EncodeError(Reason.TOO_LARGE, f"{len(payload)} bytes; {max_payload} are allowed")
    try:
        return decode(payload)
    except PayloadError as error:
        raise EncodeError(error.reason, error.detail) from None


def _refuse_nan(data: object) -> None:
    """Tell the null of None from those that msgspec writes for numbers that JSON does not have."""
    try:
        json.dumps(msgspec.to_builtins(data, str_keys=True, enc_hook=_plain_or_raw), allow_nan=False)
    except ValueError:
        raise EncodeError(Reason.NOT_JSON, "NaN and Infinity are not JSON") from None


def _plain_or_raw(value: object) -> object:
    return None if isinstance(value, msgspec.Raw) else _plain(value)


def fresh_id() -> str:
    """Draw an id: a UUID of version 7 (RFC 9562) in hexadecimal, which tells when it was drawn, and 74 random bits."""
    drawn = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10))
    return f"{drawn & ~(0xF << 76 | 3 << 62) | 7 << 76 | 2 << 62:032x}"


def delay_ms(delay: float | timedelta | None) -> int:
    """Return a delay in milliseconds; 0 for none.

    Args:
        delay: seconds.

    Raises:
        ValueError: it is negative, or more than ten years.
    """
    seconds = delay.total_seconds() if isinstance(delay, timedelta) else delay or 0
    if not 0 <= seconds <= MAX_DELAY:
        raise ValueError(f"a delay is 0 to {MAX_DELAY:.0f} seconds, not {delay!r}")
    return round(seconds * 1000) or int(seconds > 0)


def check_priority(priority: object) -> int:
    """Return a priority that can be.

    Raises:
        ValueError: it is no whole number from -100 to 100.
    """
    if isinstance(priority, bool) or not isinstance(priority, int) or abs(priority) > MAX_PRIORITY:
        raise ValueError(f"a priority is a whole number from -{MAX_PRIORITY} to {MAX_PRIORITY}, not {priority!r}")
    return int(priority)


def send(terms: Terms, tasks: Sequence[Ready]) -> Command:
    """Build the command that sends tasks.

    Args:
        terms: how.
        tasks: in the order in which they are to be taken.
    """
    if not terms.delay_ms and not terms.priority:
        return commands.push(Keys(terms.queue), [task.payload for task in tasks])
    named = [(_frame_id(task.id), task.payload) for task in tasks]
    return commands.schedule(Keys(terms.queue), terms.delay_ms, terms.priority, named)


def _frame_id(task_id: str) -> str:
    """Return the id that a task has in its frame: its own, or a fresh one if a header cannot have its characters."""
    return task_id if _FRAME_ID.fullmatch(task_id) else fresh_id()


def chunked(tasks: Iterable[Ready]) -> Iterator[list[Ready]]:
    """Cut tasks into pieces for one round trip each, in order."""
    chunk: list[Ready] = []
    size = 0
    for task in tasks:
        if chunk and (len(chunk) == CHUNK or size + len(task.payload) > CHUNK_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(task)
        size += len(task.payload)
    if chunk:
        yield chunk
