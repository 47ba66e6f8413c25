"""``multiworker dead``: look at the dead letters, run them again, or discard them."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from itertools import islice
from typing import Any, TypeVar

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
from multiworker.cli.root import Failure
from multiworker.worker.client import Client
from multiworker.worker.errors import Reason
from multiworker.worker.operate import Filter, Handled, Letter, Operator

F = TypeVar("F", bound=Callable[..., Any])

_REASONS = [reason.value for reason in Reason]


def _filter_options(command: F) -> F:
    options = (
        click.option("--type", "kind", metavar="TYPE", help="Only tasks of this type."),
        click.option(
            "--reason", metavar="REASON", type=click.Choice(_REASONS), help="Only those that lie there for this."
        ),
        click.option("--id", "task_id", metavar="ID", help="Only the task of this id."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.group()
def dead() -> None:
    """Look at the dead letters, run them again, or discard them."""


@dead.command("ls")
@_filter_options
@click.option("--limit", "-n", type=click.IntRange(0), default=50, help="How many; 0 for all.  [default: 50]")
@click.option("--oldest", is_flag=True, help="Oldest first.")
@redis_options
@json_option
@click.pass_context
def list_letters(
    ctx: click.Context,
    /,
    *,
    kind: str | None,
    reason: str | None,
    task_id: str | None,
    limit: int,
    oldest: bool,
    as_json: bool,
    **_: object,
) -> None:
    """List dead letters, newest first. The first column names each for the other commands."""
    letters = islice(_operator(ctx).letters(Filter(kind, reason, task_id), newest=not oldest), limit or None)
    if as_json:
        say_json_list(_fields(letter) for letter in letters)
        return
    head = ("entry", "time", "reason", "type", "id", "detail")
    if not say_table(head, (_row(letter) for letter in letters), (15, 19, 18, 16, 32, 0)):
        say("no dead letters", err=True)


@dead.command("show")
@click.argument("entry")
@redis_options
@json_option
@click.pass_context
def show(ctx: click.Context, /, *, entry: str, as_json: bool, **_: object) -> None:
    """Show one dead letter. In text, a long payload is cut."""
    letter = _operator(ctx).letter(entry)
    if letter is None:
        raise Failure(f"no dead letter {entry}", 1)
    fields = _fields(letter)
    if as_json:
        say_json(fields)
        return
    payload = letter.payload.decode("utf-8", "replace")
    for name, value in fields.items():
        if name not in {"detail", "payload", "payload_base64"} and value not in {None, ""}:
            say(f"{name + ':':<10}{value}")
    for line in letter.detail.splitlines():
        say(f"{'detail:':<10}{line}")
    say(f"{'payload:':<10}{payload}")
    if letter.is_cut:
        say("only the head of the payload is kept, so it cannot be requeued", err=True)


@dead.command("requeue", short_help="Run dead letters again.")
@click.argument("entries", nargs=-1, metavar="[ENTRY]...")
@click.option("--all", "everything", is_flag=True, help="All dead letters.")
@_filter_options
@redis_options
@json_option
@click.pass_context
def requeue(ctx: click.Context, /, *, as_json: bool, **_: object) -> int:
    """Run dead letters again, as if they had never run: those named, all, or those that options choose.

    What dies meanwhile is left alone.
    """
    operator = _operator(ctx)
    pages = _chosen(ctx, operator)
    return _tell(
        "requeued", _total(operator.requeue(page) for page in pages), named=bool(ctx.params["entries"]), as_json=as_json
    )


@dead.command("discard", short_help="Delete dead letters.")
@click.argument("entries", nargs=-1, metavar="[ENTRY]...")
@click.option("--all", "everything", is_flag=True, help="All dead letters.")
@_filter_options
@yes_option
@redis_options
@json_option
@click.pass_context
def discard(ctx: click.Context, /, *, yes: bool, as_json: bool, **_: object) -> int:
    """Delete dead letters: those named, all, or those that options choose.

    What dies meanwhile is left alone.
    """
    operator = _operator(ctx)
    pages = _chosen(ctx, operator)
    named = bool(ctx.params["entries"])
    if not named:
        what = "all dead letters" if ctx.params["everything"] else "the dead letters that the options choose"
        confirm(f"Delete {what} of {operator.queue}?", yes=yes)
    return _tell("discarded", _total(operator.discard(page) for page in pages), named=named, as_json=as_json)


def _operator(ctx: click.Context) -> Operator:
    settings = settings_of(ctx)
    return Operator(Client(settings.redis).ask, one_queue(ctx, settings))


def _chosen(ctx: click.Context, operator: Operator) -> Iterable[list[str]]:
    """Name the dead letters that a command is about, page by page; exactly one way of choosing them must be used."""
    entries, everything = ctx.params["entries"], ctx.params["everything"]
    wanted = Filter(ctx.params["kind"], ctx.params["reason"], ctx.params["task_id"])
    if sum((bool(entries), everything, wanted != Filter())) != 1:
        raise click.UsageError("name dead letters, or choose them with --type, --reason, --id, or take --all", ctx)
    return [list(entries)] if entries else operator.matching(wanted)


def _total(parts: Iterator[Handled]) -> Handled:
    total = Handled([], [], [])
    for part in parts:
        total.done.extend(part.done)
        total.gone.extend(part.gone)
        total.cut.extend(part.cut)
    return total


def _tell(done: str, handled: Handled, *, named: bool, as_json: bool) -> int:
    """Say what became of the dead letters.

    Returns:
        The exit code: 1 if nothing was done, or not all that was asked for by name.
    """
    missed = handled.gone + handled.cut
    if as_json:
        say_json({done: handled.done, "gone": handled.gone, "cut": handled.cut})
    else:
        say(f"{len(handled.done)} dead letters {done}")
    for entry in handled.cut:
        say(f"{entry}: only the head of its payload is kept, so it cannot be requeued", err=True)
    if named:
        for entry in handled.gone:
            say(f"no dead letter {entry}", err=True)
    if not handled.done and not missed:
        say("no such dead letters", err=True)
    return int(not handled.done or (named and bool(missed)))


def _type(letter: Letter) -> str | None:
    return letter.task["type"] if letter.task else None


def _fields(letter: Letter) -> dict[str, Any]:
    fields = asdict(letter)
    payload = payload_fields(fields.pop("payload"))
    given = letter.task.get("id") if letter.task else None
    extra = {"time": letter.time.isoformat(timespec="milliseconds"), "type": _type(letter), "given_id": given}
    return fields | extra | payload


def _row(letter: Letter) -> tuple[str, ...]:
    given = letter.task.get("id") if letter.task else None
    detail = (letter.detail.splitlines() or [""])[-1]
    time = letter.time.strftime("%Y-%m-%d %H:%M:%S")
    return letter.entry, time, letter.reason, _type(letter) or "-", str(given or letter.id), detail[:200]
