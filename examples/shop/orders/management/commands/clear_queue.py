"""``manage.py clear_queue``: delete what waits."""

import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from multiworker.worker.errors import Exit
from orders.management.base import QueueCommand, operator


class Command(QueueCommand):
    """Empties a queue."""

    help = "Delete all tasks that wait or are put off. What is running goes on, and dead letters stay."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the confirmation."""
        super().add_arguments(parser)
        parser.add_argument("--yes", action="store_true", help="Do not ask.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Ask, and delete."""
        name = options["queue"]
        with operator(name) as queue:
            if not options["yes"]:
                _confirm(name)
            count = queue.purge(everything=True)
        self.stdout.write(f"{count} {'task was' if count == 1 else 'tasks were'} deleted from {name}")


def _confirm(name: str) -> None:
    if not sys.stdin.isatty():
        raise CommandError("nobody is there to confirm: add --yes", returncode=Exit.USAGE)
    if input(f"Delete all tasks that wait or are put off in {name}? [y/N] ").strip().lower() not in {"y", "yes"}:
        raise CommandError("nothing was deleted", returncode=1)
