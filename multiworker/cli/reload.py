"""``multiworker reload``: new code and settings, and with ``--wait`` what became of them."""

import signal
import time

import click

from multiworker.cli.instances import Instance, choose, instance_options
from multiworker.cli.output import say
from multiworker.cli.root import HELP, Failure
from multiworker.supervisor.children import CONNECT_TIME
from multiworker.supervisor.header import Phase
from multiworker.supervisor.reload import Outcome
from multiworker.worker.errors import Exit
from multiworker.worker.scoreboard import Scoreboard
from multiworker.worker.words import State, Total, Word

LOOK = 0.05
"""Seconds between two looks at the page."""


@click.command("reload", context_settings=HELP)
@click.option("--wait", is_flag=True, help="Until the new code runs or was refused; say which by exit code.")
@instance_options
def reload(*, wait: bool, name: str | None, pid: int | None) -> None:
    """Have the parent read its settings again and replace its children one by one, as SIGHUP does.

    What does not boot is not used: the children that run go on. With --wait the exit code is then 78, and the reason is
    told. While Redis is away the reload waits for it, and so does --wait.
    """
    instance = choose(name, pid)
    number = instance.board.totals[Total.ASKED] + 1  # of this request; or one that begins later, too, answers it
    _refuse_while_stopping(instance)
    instance.send(signal.SIGHUP)
    if wait:
        _wait(instance, number)
    else:
        say(f"{instance.spoken} has been told to reload")


def _wait(instance: Instance, number: int) -> None:
    """Wait for the outcome of a request.

    Raises:
        Failure: it was not carried out, or the parent is gone.
    """
    waiting = WaitForRedis()
    while not (found := outcome(instance.board, number)):
        if instance.has_ended(LOOK):
            raise Failure(f"{instance.spoken} has ended before the reload was done", Exit.SOFTWARE)
        _refuse_while_stopping(instance)
        if waiting.begins(instance.board, time.monotonic()):
            say(f"{instance.spoken}: waiting for Redis, the new children cannot reach it", err=True)
    if found is not Outcome.LOADED:
        raise Failure(
            f"{instance.spoken}: {found.name.lower()}, the old code runs on: {instance.board.text}", Exit.CONFIG
        )
    generation, ready = instance.board.totals[Total.GOOD_GENERATION], instance.board.totals[Total.PROCS]
    say(f"{instance.spoken}: generation {generation} is ready, {ready} children")


def outcome(board: Scoreboard, number: int) -> Outcome | None:
    """Return what became of a request for a reload; None while that is open.

    Args:
        board: the page.
        number: of the request. A later one that was carried out has answered it as well.
    """
    decided = board.totals[Total.DECIDED] >= number  # read first: it is written last
    if not decided:
        return None
    if board.totals[Total.LOADED] >= number:
        return Outcome.LOADED
    return Outcome(board.totals[Total.OUTCOME])


def _refuse_while_stopping(instance: Instance) -> None:
    if instance.board.totals[Total.PHASE] == Phase.STOPPING:
        raise Failure(f"{instance.spoken} is stopping", Exit.TEMPFAIL)


class WaitForRedis:
    """Notices, once, that a new child connects for longer than that takes when Redis is there."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._said = False

    def begins(self, board: Scoreboard, now: float) -> bool:
        """Tell whether it is time to say so.

        Args:
            board: the page.
            now: monotonic seconds.
        """
        if not any(record[Word.STATE] == State.CONNECT for record in board.present):
            self._since = None
        elif self._since is None:
            self._since = now
        elif now - self._since > CONNECT_TIME and not self._said:
            self._said = True
            return True
        return False
