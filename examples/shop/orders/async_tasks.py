"""Handlers of tasks that anybody can send, in any language, with nothing but Redis.

    redis-cli LPUSH async_tasks '{"type": "email", "data": {"to": "user@example.com"}}'

What is in ``data`` comes from outside: it is checked here, and what makes no sense is rejected with a reason.
"""

import asyncio
import csv
import logging
import re
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.mail import send_mail
from django.core.validators import validate_email

import multiworker
from orders.load import SECONDS
from orders.models import Order

logger = logging.getLogger(__name__)

COLUMNS = ("number", "email", "amount")
"""Of a file with orders."""


@multiworker.handler("email", max_attempts=5, timeout=30)
def email(data: Any) -> None:
    """Send a mail: ``{"to": ..., "subject": ..., "body": ...}``. A plain function runs in a thread, so it may block."""
    fields = _fields(data)
    to = fields.get("to", "user@example.com")
    try:
        validate_email(to)
        send_mail(str(fields.get("subject", "Hello")), str(fields.get("body", "")), None, [to])
    except (ValidationError, ValueError) as error:
        raise multiworker.Reject(f"not a mail that can be sent: {error}") from None


@multiworker.handler("file_process", timeout=60)
def file_process(data: Any) -> None:
    """Take orders from a CSV file in the inbox: ``{"name": "orders.csv"}``.

    An order that is there already stays as it is, so the file may be processed again.
    """
    name = str(_fields(data).get("name", ""))
    # A name, never a path: whoever sends tasks must not choose which files are read.
    if not re.fullmatch(r"[\w-]+\.csv", name):
        raise multiworker.Reject(f"no name of a CSV file in the inbox: {name[:50]!r}")
    try:
        with (settings.INBOX / name).open(newline="", encoding="utf-8") as file:
            orders = [Order(**{name: row[name] for name in COLUMNS}) for row in csv.DictReader(file)]
        for order in orders:
            order.clean_fields()
    except (OSError, UnicodeDecodeError, KeyError, ValidationError, csv.Error) as error:
        raise multiworker.Reject(f"{name}: {type(error).__name__}: {error}") from None
    Order.objects.bulk_create(orders, ignore_conflicts=True)


@multiworker.handler("fast_task")
async def fast_task(data: Any) -> None:
    """Wait for half a second, as for a service that answers fast."""
    await asyncio.sleep(SECONDS["fast_task"])


@multiworker.handler("medium_task")
async def medium_task(data: Any) -> None:
    """Wait for a second."""
    await asyncio.sleep(SECONDS["medium_task"])


@multiworker.handler("slow_task")
async def slow_task(data: Any) -> None:
    """Wait for two seconds."""
    await asyncio.sleep(SECONDS["slow_task"])


async def anything_else(task: Mapping[str, Any]) -> None:
    """Take every type that has no handler; ``MULTIWORKER["HANDLER"]`` names this function."""
    logger.warning("no handler for tasks of type %r: task %s was passed over", task["type"], multiworker.current().id)


def _fields(data: Any) -> Mapping[str, Any]:
    if data is None:  # the task has none
        return {}
    if not isinstance(data, Mapping):
        raise multiworker.Reject("data is not an object")
    return data
