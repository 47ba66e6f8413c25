"""What the shop's commands share: which queue they mean, and errors in one line."""

from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Iterator
from contextlib import contextmanager

from django.core.management.base import BaseCommand, CommandError

from multiworker.django.conf import client
from multiworker.worker.client import QUEUE
from multiworker.worker.errors import Exit, MultiworkerError, RedisUnavailable
from multiworker.worker.operate import Operator


class QueueCommand(BaseCommand):
    """A command that acts on one queue."""

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the option for the queue."""
        parser.add_argument("--queue", default=QUEUE, help="The Redis list (default: %(default)s).")


@contextmanager
def operator(queue: str) -> Iterator[Operator]:
    """Let a command act on a queue.

    Args:
        queue: the list's name.

    Raises:
        CommandError: in one line what Redis or the queue's name makes impossible, with an exit code of ``multiworker``.
    """
    try:
        yield Operator(client().ask, queue)
    except RedisUnavailable as error:
        line = f"{error}; the Redis of embedded: is there while a worker runs: manage.py async_command"
        raise CommandError(line, returncode=Exit.UNAVAILABLE) from None
    except MultiworkerError as error:
        raise CommandError(str(error), returncode=Exit.USAGE) from None


def positive(text: str) -> int:
    """Read a number from 1.

    Raises:
        ArgumentTypeError: it is none.
    """
    if not text.isascii() or not text.isdigit() or not int(text):
        raise ArgumentTypeError(f"not a number from 1: {text!r}")
    return int(text)
