"""``multiworker queue``: look into the queues, or empty them."""

from dataclasses import asdict

import click

from multiworker.cli.options import one_queue, redis_options, settings_of
from multiworker.cli.output import (
    confirm,
    json_option,
    payload_fields,
    say,
    say_json,
    say_json_list,
    say_table,
    yes_option,
)
from multiworker.worker.client import Client
from multiworker.worker.operate import Operator

_COLUMNS = ("waiting", "handoff", "scheduled", "priority", "suspects", "in_flight", "workers", "dead")


@click.group()
def queue() -> None:
    """Look into the queues, or empty them."""


@queue.command("ls")
@redis_options
@json_option
@click.pass_context
def list_queues(ctx: click.Context, /, *, as_json: bool, **_: object) -> None:
    """Count what lies where in a queue, or in several.

    waiting: in the list. handoff: at its head. scheduled: delayed tasks and retries. priority: with a
    priority, and not put off. suspects: tasks that were running
    in two crashes, and wait to run alone. in_flight: held by workers.
    """
    settings = settings_of(ctx)
    client = Client(settings.redis)
    depths = [(name, asdict(Operator(client.ask, name).depths())) for name in settings.queue]
    if as_json:
        say_json([{"queue": name, **counts} for name, counts in depths])
        return
    rows = [[name, *(counts[column] for column in _COLUMNS)] for name, counts in depths]
    say_table(("queue", *_COLUMNS), rows, (max(len(name) for name, _ in depths), *(max(len(c), 8) for c in _COLUMNS)))


@queue.command("peek")
@click.option("--limit", "-n", type=click.IntRange(1, 1000), default=10, help="How many.  [default: 10]")
@redis_options
@json_option
@click.pass_context
def peek(ctx: click.Context, /, *, limit: int, as_json: bool, **_: object) -> None:
    """Show what will be taken next, in order, and take nothing. Long payloads are cut; what is put off is left out."""
    settings = settings_of(ctx)
    waiting = Operator(Client(settings.redis).ask, one_queue(ctx, settings)).peek(limit)
    if as_json:
        say_json_list({"priority": task.priority, "size": task.size, **payload_fields(task.head)} for task in waiting)
        return
    for task in waiting:
        rest = f" ... ({task.size} bytes)" if task.size > len(task.head) else ""
        mark = f"priority {task.priority}: " if task.priority else ""
        say(mark + task.head.decode("utf-8", "replace") + rest)
    if not waiting:
        say("nothing is waiting", err=True)


@queue.command("purge")
@click.option("--all", "everything", is_flag=True, help="Also what is scheduled, prioritised or suspected.")
@yes_option
@redis_options
@json_option
@click.pass_context
def purge(ctx: click.Context, /, *, everything: bool, yes: bool, as_json: bool, **_: object) -> None:
    """Delete what waits. What is running goes on, and dead letters stay."""
    settings = settings_of(ctx)
    name = one_queue(ctx, settings)
    operator = Operator(Client(settings.redis).ask, name)
    what = "all tasks that wait or are scheduled" if everything else "all tasks that wait"
    confirm(f"Delete {what} in {name}?", yes=yes)
    count = operator.purge(everything=everything)
    if as_json:
        say_json({"queue": name, "purged": count})
    else:
        say(f"{count} tasks deleted")
