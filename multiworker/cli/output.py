"""What commands print: text in which nothing from a payload can move the cursor, or JSON."""

import base64
import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import click

from multiworker.cli.root import Failure
from multiworker.worker.logs import one_line

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
yes_option = click.option("--yes", is_flag=True, help="Do not ask.")


def say(text: object, *, err: bool = False) -> None:
    """Print one line."""
    click.echo(one_line(text), err=err)


def say_table(head: Sequence[str], rows: Iterable[Sequence[object]], widths: Sequence[int]) -> int:
    """Print rows as they come, in columns, and the columns' names before the first.

    Args:
        head: the columns' names.
        rows: texts and numbers; numbers are set flush right.
        widths: of the columns; longer texts shift the rest of their row.

    Returns:
        How many rows there were.
    """
    count = 0
    for count, row in enumerate(rows, 1):
        kinds = [type(cell) for cell in row]
        for line in (head, row) if count == 1 else (row,):
            cells = zip(line, kinds, widths, strict=True)
            say("  ".join(_padded(one_line(cell), kind, width) for cell, kind, width in cells).rstrip())
    return count


def _padded(text: str, kind: type, width: int) -> str:
    return text.rjust(width) if kind is int else text.ljust(width)


def say_json(value: Any) -> None:
    """Print a JSON document, in ASCII."""
    click.echo(json.dumps(value, indent=2))


def say_json_list(values: Iterable[Any]) -> None:
    """Print a JSON array as its values come, one in a line."""
    before = "[\n"
    for value in values:
        click.echo(before + json.dumps(value), nl=False)
        before = ",\n"
    click.echo("[]" if before == "[\n" else "\n]")


def payload_fields(payload: bytes) -> dict[str, str]:
    """Return a payload for JSON: as text, or in base64 if it is none."""
    try:
        return {"payload": payload.decode()}
    except UnicodeDecodeError:
        return {"payload_base64": base64.b64encode(payload).decode()}


def confirm(question: str, *, yes: bool) -> None:
    """Ask before something is deleted.

    Args:
        question: what is about to be done.
        yes: the user has said so in advance.

    Raises:
        click.UsageError: there is nobody to ask.
        Failure: the answer is no.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError("nobody is there to confirm: add --yes", click.get_current_context())
    if not click.confirm(question, err=True):
        raise Failure("nothing was deleted", 1)
