"""``multiworker enqueue``: send a task, or a file of tasks."""

import sys

import click
import msgspec

from multiworker.cli.options import one_queue, redis_options, setting, settings_of
from multiworker.cli.output import say
from multiworker.cli.tasks_file import Sending, send_file
from multiworker.worker.client import Client
from multiworker.worker.errors import EncodeError, Reason


@click.command("enqueue")
@click.argument("kind", metavar="[TYPE]", required=False)
@click.argument("data", metavar="[JSON]", required=False)
@click.option("--file", "path", metavar="FILE", help="Send a file of tasks, one JSON object in a line; - for stdin.")
@click.option("--skip-bad", is_flag=True, help="With --file: send the good lines although others are bad.")
@click.option("--id", "task_id", metavar="ID", help="An id of your own.  [default: a random one]")
@click.option("--delay", type=float, metavar="SECONDS", default=0.0, help="Seconds to put tasks off.")
@click.option(
    "--priority", type=int, metavar="N", default=0, help="-100 to 100; higher ones are taken first.  [default: 0]"
)
@setting("max_payload", help="Bytes that a task may have.  [default: 256KiB]")
@redis_options
@click.pass_context
def enqueue(
    ctx: click.Context,
    /,
    *,
    kind: str | None,
    data: str | None,
    path: str | None,
    skip_bad: bool,
    task_id: str | None,
    delay: float,
    priority: int,
    **_: object,
) -> int | None:
    """Send a task, or a file of tasks.

    TYPE is the task's type, JSON its data; - reads the data from stdin. The task's id is printed.

    With --file each line is an object such as {"type": "email", "data": {"to": "user@example.com"}}; "id" and other
    keys are kept. A file is checked as a whole before its first task is sent; lines that come through a pipe are sent
    as they come, up to the first bad one.
    """
    settings = settings_of(ctx)
    if (kind is None) == (path is None):
        raise click.UsageError("give a TYPE or a --file", ctx)
    if path is not None and task_id is not None:
        raise click.UsageError("--id is for one task; in a file, every line has its own", ctx)
    client = Client(settings.redis, max_payload=settings.max_payload)
    queue = one_queue(ctx, settings)
    try:
        if kind is not None:
            raw = _raw(data, settings.max_payload)
            say(client.enqueue(kind, raw, id=task_id, delay=delay, queue=queue, priority=priority))
            return None
        sending = Sending(client, queue, delay, settings.max_payload, priority)
        return send_file(str(path), sending, skip_bad=skip_bad)
    except ValueError as error:
        raise click.UsageError(str(error), ctx) from None


def _raw(data: str | None, max_payload: int) -> msgspec.Raw | None:
    """Return data as JSON to be sent as it is, digit for digit.

    Raises:
        EncodeError: it is not one JSON text.
    """
    if data is None:
        return None
    text = sys.stdin.buffer.read(max_payload + 1) if data == "-" else data.encode("utf-8", "surrogateescape")
    try:
        msgspec.json.decode(text)
    except RecursionError:
        raise EncodeError(Reason.TOO_DEEP, "the data is nested far too deep") from None
    except ValueError:
        hint = "the data is not one JSON text; a string needs its own quotes, as in '\"text\"'"
        raise EncodeError(Reason.NOT_JSON, hint) from None
    return msgspec.Raw(text)
