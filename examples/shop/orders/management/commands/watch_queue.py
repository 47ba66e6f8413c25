"""``manage.py watch_queue``: see a queue run empty."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from orders.management.base import QueueCommand, operator
from orders.watching import views

BETWEEN = 1.0
"""Seconds between two plain lines."""


class Command(QueueCommand):
    """Watches a queue."""

    help = (
        "Watch a queue until it is empty: tasks left and done, rate, time; one line on a terminal, else one a second."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add a limit of time."""
        super().add_arguments(parser)
        parser.add_argument(
            "--timeout", type=float, default=float("inf"), metavar="S", help="Give up after S seconds (default: never)."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Look again and again until nothing is left."""
        limit = options["timeout"]
        due = 0.0
        with operator(options["queue"]) as queue:
            for view in views(queue):
                if not view.workers and view.left and not due:
                    self.stderr.write("no worker takes from this queue yet; to start one: manage.py async_command")
                is_last = not view.left or view.seconds >= limit
                if self.stdout.isatty() or is_last or view.seconds >= due:
                    self._show(str(view), is_last=is_last)
                    due = view.seconds + BETWEEN
                if view.left and is_last:
                    raise CommandError(f"{view.left} tasks are left after {limit:g} s", returncode=1)

    def _show(self, line: str, *, is_last: bool) -> None:
        """Show a line; on a terminal in place of the one before it."""
        is_live = self.stdout.isatty()
        self.stdout.write(f"\r\x1b[K{line}" if is_live else line, ending="\n" if is_last or not is_live else "")
        self.stdout.flush()
