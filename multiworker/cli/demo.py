"""``multiworker demo``: everything on an embedded Redis, in one command, and proof that nothing was lost."""

import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import click

from multiworker.cli.demo_rig import LOG_TAIL, QUITTING, DemoError, Rig
from multiworker.cli.demo_screen import Screen, screen
from multiworker.cli.demo_story import Story
from multiworker.cli.root import Failure
from multiworker.supervisor.cores import core_count
from multiworker.supervisor.embedded import find_server
from multiworker.worker.errors import Exit, RedisUnavailable, SettingsError


@click.command("demo")
@click.option("--plain", is_flag=True, help="Print plain lines, also on a terminal.")
def demo(*, plain: bool) -> int:
    """Show everything at work: sample tasks on a private Redis, a killed child, and no task lost."""
    try:
        find_server()
    except SettingsError as error:
        raise Failure(str(error).replace("--redis embedded: ", ""), Exit.UNAVAILABLE) from None
    try:
        with _ending_in_order(), _temporary_directory() as directory:
            _tell(Rig(Path(directory), max(2, core_count())), screen(plain=plain))
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise Failure(f"{where}{error.strerror}", Exit.CANTCREAT) from None
    return Exit.OK


def _temporary_directory() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="multiworker-demo-", ignore_cleanup_errors=True)


def _tell(rig: Rig, show: Screen) -> None:
    try:
        Story(rig, show).tell()
        show.say("What to type next:")
        for line in _next_steps():
            show.say(f"  {line}")
    except (DemoError, RedisUnavailable) as error:
        show.finish()
        for line in rig.log_lines()[-LOG_TAIL:]:
            click.echo(f"  {line}", err=True)
        raise Failure(f"failed: {error}; the end of the parent's log stands above", 1) from None
    finally:
        _turn_deaf()
        show.finish()
        rig.end()


def _next_steps() -> list[str]:
    """Return commands that work as they stand, in this directory, once there is a tasks.py."""
    programs = Path(sys.executable).parent
    here = f"{programs.relative_to(Path.cwd())}/" if programs.is_relative_to(Path.cwd()) else ""
    return [
        "export MULTIWORKER_REDIS=embedded:data   # a Redis of your own, kept in ./data",
        f"{here}multiworker start --handler tasks   # your functions in tasks.py",
        """redis-cli -s data/redis.sock LPUSH async_tasks '{"type": "email", "data": {}}'""",
        f"""{here}python3 -c 'import multiworker; multiworker.enqueue("email", {{}})'""",
    ]


@contextmanager
def _ending_in_order() -> Iterator[None]:
    """Have Ctrl-C, kill and a closing terminal end the demo in order."""

    def leave(number: int, _frame: FrameType | None) -> None:
        _turn_deaf()
        raise SystemExit(128 + number)

    for number in QUITTING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, leave)
    yield


def _turn_deaf() -> None:
    """Let nothing interrupt the end."""
    for number in QUITTING:
        signal.signal(number, signal.SIG_IGN)
