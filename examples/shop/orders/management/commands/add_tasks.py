"""``manage.py add_tasks``: sample tasks of every kind."""

import json
from argparse import ArgumentParser, ArgumentTypeError
from decimal import Decimal
from typing import Any

from django.conf import settings

from multiworker.django import enqueue_many
from orders.load import LOAD
from orders.management.base import QueueCommand, operator, positive
from orders.placing import place

MAILS, ORDERS = 5, 3
UNKNOWN = "send_fax"
INBOX_FILE = "orders.csv"


class Command(QueueCommand):
    """Adds sample tasks."""

    help = "Add sample tasks of every type, and orders with tasks of django.tasks; or only the types that are named."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add what is to be sent."""
        super().add_arguments(parser)
        parser.add_argument("type", nargs="*", help="Task types (default: the sample, with orders).")
        parser.add_argument("--count", type=positive, default=1, metavar="N", help="Add all of it N times.")
        parser.add_argument("--data", type=_json, metavar="JSON", help="What each of the named tasks gets as its data.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Send them."""
        named = [(kind, options["data"]) for kind in options["type"]]
        tasks = (named or _sample()) * options["count"]
        with operator(options["queue"]):
            enqueue_many(tasks, queue=options["queue"])
            self.stdout.write(f"{len(tasks)} tasks were added to {options['queue']}")
            if not named:
                count = ORDERS * options["count"]
                for number in range(count):
                    place("customer@example.com", Decimal("12.50") + number, paid=number % ORDERS != 0)
                self.stdout.write(f"{count} orders were placed, with their tasks; a third will not be paid in time")


def _sample() -> list[tuple[str, Any]]:
    settings.INBOX.mkdir(exist_ok=True)
    (settings.INBOX / INBOX_FILE).write_text("number,email,amount\nfrom-file-1,user@example.com,12.50\n", "utf-8")
    waits = [(kind, None) for kind in LOAD]
    mails = [("email", {"to": f"user{number}@example.com"}) for number in range(1, MAILS + 1)]
    return [*waits, *mails, ("file_process", {"name": INBOX_FILE}), (UNKNOWN, {"to": "+44 20 7946 0000"})]


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise ArgumentTypeError(f"not JSON: {error}") from None
