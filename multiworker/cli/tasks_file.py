"""Sends a file of tasks, one JSON object in a line, or what comes through a pipe."""

import os
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import click

from multiworker.cli.output import say
from multiworker.cli.root import Failure
from multiworker.worker.client import Client
from multiworker.worker.client.encode import Ready, Terms, check_priority, chunked, delay_ms, fresh_id, send, verify
from multiworker.worker.errors import EncodeError, Exit, RedisUnavailable
from multiworker.worker.message import valid_name

STDIN = 0
"""The file descriptor of standard input."""
READ = 1024 * 1024
"""Bytes read at once."""
LONG = 256 * 1024
"""Bytes from which on a file gets a progress bar."""
MOST_BAD = 20
"""Bad lines that are shown, unless they are skipped."""


class BadLine(Exception):
    """A line that is no task."""


@dataclass(frozen=True)
class Sending:
    """Where tasks go.

    Args:
        client: the Redis.
        queue: the list.
        delay: seconds to put them off.
        max_payload: bytes that a task may have.
        priority: of all of them.
    """

    client: Client
    queue: str
    delay: float
    max_payload: int
    priority: int = 0


@dataclass
class _Progress:
    """How far a file has come.

    Args:
        sent: tasks that Redis has confirmed.
    """

    sent: int = 0


def send_file(path: str, sending: Sending, *, skip_bad: bool) -> int:
    """Send the tasks of a file; of a regular file none unless all its lines are good.

    Args:
        path: of the file; - is standard input.
        sending: where they go.
        skip_bad: send the good lines although others are bad.

    Returns:
        The exit code: EX_DATAERR if there was a bad line.

    Raises:
        Failure: the file cannot be read, or Redis fails; the message says how far it came.
        ValueError: delay or priority cannot be.
    """
    terms = Terms(sending.queue, delay_ms(sending.delay), check_priority(sending.priority))
    try:
        descriptor = STDIN if path == "-" else os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        status = os.fstat(descriptor)
    except OSError as error:
        raise Failure(f"{path}: {error.strerror}", os.EX_NOINPUT) from None
    if stat.S_ISDIR(status.st_mode):
        raise Failure(f"{path}: is a directory", os.EX_NOINPUT)
    regular = stat.S_ISREG(status.st_mode)
    size = status.st_size - os.lseek(descriptor, 0, os.SEEK_CUR) if regular else 0
    if regular and not skip_bad:
        bad = _check(descriptor, size, sending)
        if bad:
            raise Failure(f"{bad} bad lines, so nothing was sent; --skip-bad sends the others", os.EX_DATAERR)
    progress = _Progress()
    try:
        return _send(descriptor, size, sending, terms, progress, skip_bad=skip_bad)
    except RedisUnavailable as error:
        raise Failure(f"{error} (only the first {progress.sent} tasks were surely sent)", Exit.UNAVAILABLE) from None
    except KeyboardInterrupt:
        say(f"the first {progress.sent} tasks were surely sent", err=True)
        raise


def _check(descriptor: int, size: int, sending: Sending) -> int:
    """Show what is wrong with a regular file, and go back to where it began.

    Returns:
        How many lines are bad.
    """
    start = os.lseek(descriptor, 0, os.SEEK_CUR)
    bad = 0
    for batch in _batches(descriptor, size, sending.max_payload, "checking"):
        for number, line in batch:
            try:
                prepare(line, sending.max_payload)
            except BadLine as error:
                bad += 1
                if bad <= MOST_BAD:
                    say(f"line {number}: {error}", err=True)
    if bad > MOST_BAD:
        say(f"... and {bad - MOST_BAD} more", err=True)
    os.lseek(descriptor, start, os.SEEK_SET)
    return bad


def _send(descriptor: int, size: int, sending: Sending, terms: Terms, progress: _Progress, *, skip_bad: bool) -> int:
    bad = 0
    for batch in _batches(descriptor, size, sending.max_payload, "sending"):
        tasks: list[Ready] = []
        for number, line in batch:
            try:
                tasks.extend(prepare(line, sending.max_payload))
            except BadLine as error:
                bad += 1
                say(f"line {number}: {error}", err=True)
                if not skip_bad:
                    break
        for chunk in chunked(tasks):
            sending.client.ask(send(terms, chunk))
            progress.sent += len(chunk)
        if bad and not skip_bad:
            raise Failure(f"stopped at line {number}; the {progress.sent} tasks before it were sent", os.EX_DATAERR)
    say(f"{progress.sent} tasks sent")
    return os.EX_DATAERR if bad else Exit.OK


def _batches(descriptor: int, size: int, longest: int, label: str) -> Iterator[list[tuple[int, bytes]]]:
    """Read numbered lines, as many at a time as there are, and show the progress of a long file on a terminal.

    Of a line much longer than a task may be, only as much is kept as shows that it is too long.
    """
    hidden = size < LONG or not sys.stderr.isatty()
    number, rest = 0, b""
    with click.progressbar(length=size, label=label, file=sys.stderr, hidden=hidden) as bar:
        while chunk := os.read(descriptor, READ):
            *lines, rest = (rest + chunk).split(b"\n")
            rest = rest[: longest + 2]
            yield list(enumerate(lines, number + 1))
            number += len(lines)
            bar.update(len(chunk))
        if rest:
            yield [(number + 1, rest)]


def prepare(line: bytes, max_payload: int) -> list[Ready]:
    """Turn a line into a task: as it is, with an id if it has none.

    Args:
        line: without its line break.
        max_payload: bytes that a task may have.

    Returns:
        The task; or nothing, for a blank line.

    Raises:
        BadLine: saying why it is no task.
    """
    text = line.strip()
    if not text:
        return []
    if len(text) > max_payload:
        raise BadLine(f"longer than the {max_payload} bytes that are allowed")
    try:
        task = verify(text, max_payload)
        if "id" not in task:
            text = b'{"id":"%s",%s' % (fresh_id().encode(), text[1:])
            task = verify(text, max_payload)
    except EncodeError as error:
        raise BadLine(str(error)) from None
    if not (isinstance(task["id"], str) and valid_name(task["id"])):
        raise BadLine("the id is not a text of 1-200 characters, none of them control or bidirectional")
    return [Ready(task["id"], text)]
