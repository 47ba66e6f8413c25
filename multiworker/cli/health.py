"""``multiworker health``: does this instance do its work? An exit code for scripts, containers and monitoring."""

import time

import click

from multiworker.cli.facts import is_ready
from multiworker.cli.instances import choose, instance_options, is_alive
from multiworker.cli.output import say
from multiworker.cli.root import HELP, Failure
from multiworker.supervisor.header import Phase
from multiworker.worker.errors import Exit
from multiworker.worker.scoreboard import Record, Scoreboard
from multiworker.worker.words import State, Total, Word

MAX_AGE = 10.0
"""Seconds; twice the time within which an idle child, or one whose tasks run on, asks Redis for something."""


@click.command(context_settings=HELP)
@click.option(
    "--max-age",
    type=click.FloatRange(min=1.0, max=86_400.0),
    default=MAX_AGE,
    metavar="SECONDS",
    help=f"How long parent, event loops and Redis may be silent.  [default: {MAX_AGE:g}]",
)
@instance_options
def health(*, max_age: float, name: str | None, pid: int | None) -> None:
    """Exit 0 if the parent lives, all children are ready, their event loops turn and Redis answers each of them.

    Else one line says why not, and the exit code is 69 if Redis is the reason, 75 if nothing runs, 70 otherwise.
    """
    instance = choose(name, pid)
    board, now = instance.board.copy(), time.monotonic_ns()
    trouble = verdict(board, now, max_age)
    if trouble:
        code, reason = trouble
        raise Failure(f"{instance.spoken}: {reason}", code)
    say(f"{instance.spoken}: {sum(map(is_ready, board.present))} children ready")


def verdict(board: Scoreboard, now: int, max_age: float) -> tuple[Exit, str] | None:
    """Return what is wrong with a living instance: exit code and reason. None: nothing.

    Args:
        board: its page.
        now: monotonic ns.
        max_age: seconds of silence that are too long.
    """
    totals, ready = board.totals, [record for record in board.present if is_ready(record)]
    silence = _seconds(totals[Total.PASSED], now)
    if totals[Total.PHASE] == Phase.STOPPING:
        return Exit.SOFTWARE, "it is stopping"
    if silence > max_age:
        return Exit.SOFTWARE, f"the parent has not looked after its children for {silence:.1f} s"
    for record in ready:
        found = _of_child(record, now, max_age)
        if found:
            return found
    if len(ready) < totals[Total.NEEDED]:
        return _missing(board, len(ready))
    return None


def _of_child(record: Record, now: int, max_age: float) -> tuple[Exit, str] | None:
    who = f"child {record[Word.SLOT]} (pid {record[Word.PID]})"
    if not is_alive(record[Word.PID], record[Word.BIRTH]):
        return Exit.SOFTWARE, f"{who} is dead"
    beat, contact = record[Word.BEAT], record[Word.CONTACT]
    silence = _seconds(beat, now)
    if silence > max_age:
        return Exit.SOFTWARE, f"{who}: its event loop has not turned for {silence:.1f} s"
    silence = _seconds(contact, beat)  # a loop that does not turn cannot hear what Redis answers
    if silence > max_age:
        return Exit.UNAVAILABLE, f"{who}: no answer from Redis for {silence:.1f} s"
    return None


def _missing(board: Scoreboard, ready: int) -> tuple[Exit, str]:
    count = f"{ready} of {board.totals[Total.NEEDED]} children are ready"
    if any(record[Word.STATE] == State.CONNECT for record in board.present):
        return Exit.UNAVAILABLE, f"{count}, others wait for Redis"
    return Exit.SOFTWARE, count


def _seconds(then: int, now: int) -> float:
    return max(0.0, (now - then) / 1e9)
