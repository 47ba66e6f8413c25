"""Logging for parent and children: one line an event, whatever stands in it."""

import json
import logging
import re
import sys
import traceback
from datetime import UTC, datetime
from typing import Any

MAX_LINE = 4000
"""Characters of one log line; a pipe takes so much in one uninterrupted write (PIPE_BUF is 4,096 bytes)."""
_CONTROL = re.compile(
    "[\x00-\x1f\x7f-\x9f\u2028\u2029"  # control characters and line separators
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff"  # bidirectional marks and the byte order mark
    "\ud800-\udfff]"  # lone surrogates, which no encoding can write
)
_USER_PART = re.compile(r"(://)\S*@")
_QUERY = re.compile(r"(://\S*?\?)\S*")


def one_line(text: object) -> str:
    """Return a text without line breaks, terminal escapes and bidirectional marks.

    Args:
        text: anything with a str().

    Returns:
        The text with such characters written as escapes, cut at MAX_LINE characters.
    """
    return visible(str(text)[:MAX_LINE])[:MAX_LINE]


def visible(text: str, keep: str = "") -> str:
    """Return a text with line breaks, terminal escapes, bidirectional marks and the like written as escapes.

    Args:
        text: any.
        keep: such characters that stay as they are.
    """
    return _CONTROL.sub(lambda m: m[0] if m[0] in keep else m[0].encode("unicode_escape").decode(), text)


def without_secrets(text: object) -> str:
    """Return a text as one line, in which no URL has a user, a password or a query.

    Args:
        text: anything with a str().
    """
    return _QUERY.sub(r"\1***", _USER_PART.sub(r"\1***@", one_line(text)))


def describe(error: BaseException) -> str:
    """Return an exception as one line, also if its own ``__str__`` fails."""
    name = type(error).__name__
    try:
        text = str(error)
    except BaseException:  # noqa: BLE001 - user code may raise anything from __str__
        text = "<its text could not be read>"
    return one_line(f"{name}: {text}" if text else name)


class TextFormatter(logging.Formatter):
    """``2026-01-31T12:00:00.000Z INFO  4711 message key=value``."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line, in which a traceback has its line breaks escaped."""
        extra = "".join(f" {key}={one_line(value)}" for key, value in _extra(record).items())
        return f"{_time(record)} {record.levelname:<7} {record.process} {one_line(record.getMessage())}{extra}"


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line."""
        line = {"time": _time(record), "level": record.levelname.lower(), "pid": record.process, "logger": record.name}
        return json.dumps(line | {"message": record.getMessage()[:MAX_LINE]} | _extra(record), default=str)


def configure(log_format: str, level: str) -> None:
    """Send all logging to standard error, one write a line.

    Args:
        log_format: ``text`` or ``json``.
        level: the lowest level to show, as its lower-case name.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    """Return the fields of a task, if the event is about one, and the end of the traceback, if it has one."""
    task = getattr(record, "task", None) or {}
    fields: dict[str, Any] = dict(task) if isinstance(task, dict) else {"task": task}  # other code may say task, too
    if record.exc_info and record.exc_info[0]:
        text = "".join(traceback.format_exception(*record.exc_info))
        fields["traceback"] = text.strip()[-MAX_LINE // 2 :]
    return fields
