"""``manage.py compare``: the same load one task at a time, and several at a time."""

import secrets
from argparse import ArgumentParser
from collections import Counter
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from multiworker.django.conf import redis_url
from multiworker.worker.errors import Exit, MultiworkerError
from orders.contest import Contest, redis_for
from orders.load import LOAD, SECONDS, ideal
from orders.management.base import positive


class Command(BaseCommand):
    """Compares serial with concurrent."""

    help = "Run the same seven tasks one at a time, then several at a time, and compare. No other task is touched."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add how many tasks run at once."""
        parser.add_argument(
            "--concurrency", type=positive, nargs="+", default=[5, 7], metavar="N", help="Tasks at once (default: 5 7)."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Measure each number of tasks at once, on one queue."""
        try:
            with redis_for(redis_url()) as url:
                contest = Contest(url, f"compare-{secrets.token_hex(4)}")
                try:
                    self._compare(contest, [1, *options["concurrency"]])
                finally:
                    contest.clean_up()
        except MultiworkerError as error:
            raise CommandError(str(error), returncode=Exit.UNAVAILABLE) from None

    def _compare(self, contest: Contest, numbers: list[int]) -> None:
        load = ", ".join(f"{count} x {SECONDS[kind]:g} s" for kind, count in Counter(LOAD).items())
        self.stdout.write(f"{len(LOAD)} tasks: {load}. Time from their push until the last one is acknowledged:\n")
        self.stdout.write("tasks at once     time  at best  speed-up")
        times: list[float] = []
        for number in numbers:
            times.append(contest.run(number))
            columns = f"{number:13}  {times[-1]:5.2f} s  {ideal(number):5.2f} s  {times[0] / times[-1]:6.2f} x"
            self.stdout.write(columns)
            self.stdout.flush()
