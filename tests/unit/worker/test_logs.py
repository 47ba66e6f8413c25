"""One line an event, whatever stands in it."""

import io
import json
import logging
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from multiworker.worker.logs import MAX_LINE, JsonFormatter, TextFormatter, configure, describe, one_line

HOSTILE = "a\nb\r\x00\x1b[31m\x7f\x9b\u2028\u2029\u202e\u2066\u061c\u200e\ufeff\ud800"


@pytest.fixture
def root_logging() -> Iterator[None]:
    """Puts the root logger back as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def record(message: str, *arguments: object, **more: Any) -> logging.LogRecord:
    made = logging.LogRecord(
        "multiworker.worker", logging.WARNING, __file__, 1, message, arguments, more.pop("exc", None)
    )
    made.__dict__.update(more)
    return made


def error_info(text: str) -> Any:
    """What logging keeps of an exception that was caught."""
    with pytest.raises(ValueError, match="the end") as caught:
        raise ValueError(text)
    return caught.type, caught.value, caught.tb


def test_line_breaks_terminal_escapes_and_bidirectional_marks_are_written_as_escapes() -> None:
    line = one_line(HOSTILE)
    assert line.isprintable()
    assert line.startswith("a\\nb\\r\\x00\\x1b[31m\\x7f")


def test_ordinary_text_of_any_script_stays_as_it_is() -> None:
    assert one_line("\u90ae\u4ef6 \u05d0\u05d1 \U0001f600 \\n") == "\u90ae\u4ef6 \u05d0\u05d1 \U0001f600 \\n"


@pytest.mark.parametrize("text", ["x" * 10**7, "\n" * 10**7, "\u202e" * MAX_LINE])
def test_a_line_is_never_longer_than_its_limit(text: str) -> None:
    assert len(one_line(text)) == MAX_LINE


def test_an_exception_is_described_in_one_line() -> None:
    assert describe(ValueError("no\nway")) == "ValueError: no\\nway"
    assert describe(ValueError()) == "ValueError"
    assert len(describe(ValueError("x" * 10**7))) == MAX_LINE


def test_an_exception_that_cannot_be_printed_is_described_too() -> None:
    class Silent(Exception):
        def __str__(self) -> str:
            raise KeyboardInterrupt

    assert describe(Silent()) == "Silent: <its text could not be read>"


def test_a_text_line_has_time_level_process_message_and_fields() -> None:
    line = TextFormatter().format(record("%s failed", "it", task={"id": "7", "type": HOSTILE, "attempt": 2}))
    time, level, pid, rest = line.split(None, 3)
    assert (len(time), time[-1], level, pid.isdigit()) == (24, "Z", "WARNING", True)
    assert rest.startswith("it failed id=7 type=a\\nb")
    assert rest.endswith("attempt=2")
    assert line.isprintable()


def test_a_json_line_is_one_object() -> None:
    line = JsonFormatter().format(record(HOSTILE, task={"id": HOSTILE, "odd": object}))
    assert "\n" not in line
    entry = json.loads(line)
    assert entry["message"] == entry["id"] == HOSTILE
    assert (entry["level"], entry["logger"]) == ("warning", "multiworker.worker")
    assert len(JsonFormatter().format(record("x" * 10**7))) < MAX_LINE + 500


@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()], ids=["text", "json"])
def test_a_traceback_is_kept_in_the_line(formatter: logging.Formatter) -> None:
    line = formatter.format(record("broken", exc=error_info("first line\nsecond line: the end")))
    assert "\n" not in line
    assert "Traceback (most recent call last):" in line
    assert "second line" in line


def test_the_end_of_a_long_traceback_is_what_is_kept() -> None:
    line = TextFormatter().format(record("broken", exc=error_info("x" * 10**6 + "the end")))
    assert line.endswith("the end")
    assert len(line) < 2 * MAX_LINE


@pytest.mark.parametrize("task", ["just a word", 5, None, [1]])
def test_a_field_of_this_name_may_be_somebody_elses(task: object) -> None:
    for formatter in (TextFormatter(), JsonFormatter()):
        assert "hello" in formatter.format(record("hello", task=task))


@pytest.mark.usefixtures("root_logging")
@pytest.mark.parametrize(("log_format", "start"), [("text", "20"), ("json", '{"time"')])
def test_logging_goes_to_standard_error_from_the_given_level_on(
    monkeypatch: pytest.MonkeyPatch, log_format: str, start: str
) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    configure(log_format, "warning")
    logging.getLogger("anything").info("not this")
    logging.getLogger("anything").warning("this\nthere")
    lines = stream.getvalue().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith(start)
    assert lines[0].count("this\\nthere") == 1
