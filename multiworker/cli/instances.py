"""The parents that run on this host, found by their scoreboards; nobody else who has the pid of one now is meant."""

import os
import select
import signal
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click
import psutil

from multiworker.cli.options import setting
from multiworker.cli.root import Failure
from multiworker.worker.errors import Exit
from multiworker.worker.host import birth, runtime_directories
from multiworker.worker.scoreboard import Scoreboard
from multiworker.worker.words import Total, Word

F = TypeVar("F", bound=Callable[..., Any])

_SUFFIX = ".board"
_UNNAMED = "unnamed"


@dataclass(frozen=True)
class Instance:
    """One parent.

    Args:
        name: its ``--name``; None if it has none.
        pid: its process.
        board: its page, to be read.
        handle: what the kernel knows the process by, whoever gets its pid later; None if it is gone.
    """

    name: str | None
    pid: int
    board: Scoreboard
    handle: int | None

    @property
    def spoken(self) -> str:
        """How it is called in messages."""
        return f"{self.name} (pid {self.pid})" if self.name else f"pid {self.pid}"

    def has_ended(self, wait: float = 0.0) -> bool:
        """Tell whether it has ended.

        Args:
            wait: seconds in which it may still do so.
        """
        if self.handle is None:
            return True
        poll = select.poll()
        poll.register(self.handle, select.POLLIN)  # pidfd_open(2): readable when the process has ended
        return bool(poll.poll(wait * 1000))

    def send(self, number: signal.Signals) -> None:
        """Send it a signal.

        Raises:
            Failure: it has ended meanwhile, or belongs to another user.
        """
        try:
            signal.pidfd_send_signal(self.handle if self.handle is not None else -1, number)
        except PermissionError:
            raise Failure(f"{self.spoken} belongs to another user", os.EX_NOPERM) from None
        except OSError:
            raise Failure(f"{self.spoken} has ended just now", Exit.TEMPFAIL) from None

    def children(self) -> list[int]:
        """Return the pids of its children that have not ended; also of a parent that has."""
        records = self.board.present
        return [record[Word.PID] for record in records if is_alive(record[Word.PID], record[Word.BIRTH])]


def is_alive(pid: int, born: int) -> bool:
    """Tell whether a process lives.

    Args:
        pid: its id.
        born: when it was started, see birth(); 0 if it has not said so yet.
    """
    found = birth(pid) if pid else 0
    return found > 0 and born in (0, found)


def instance_options(command: F) -> F:
    """Give a command ``--name`` and ``--pid`` (a decorator)."""
    pid = click.option("--pid", type=click.IntRange(1), metavar="PID", help="The parent's process id.")
    name = setting("name", help="The instance's name.  [default: the only one that runs]")
    return name(pid(command))


def choose(name: str | None, pid: int | None, *, gone: bool = False) -> Instance:
    """Return the one parent that is meant.

    Args:
        name: its ``--name``; None for any.
        pid: its process; None for any.
        gone: one that has ended will do, if none runs and its page is still there.

    Raises:
        Failure: none runs, or several do.
    """
    meant = [one for one in find(runtime_directories()) if name in (None, one.name) and pid in (None, one.pid)]
    running = [one for one in meant if one.handle is not None]
    if gone and not running:
        running = sorted(meant, key=lambda one: one.board.totals[Total.STARTED])[-1:]
    if len(running) > 1:
        option = "--pid" if len({one.name for one in running}) < len(running) else "--name"
        raise Failure(f"several run, choose one with {option}: {', '.join(one.spoken for one in running)}", Exit.USAGE)
    if not running:
        raise Failure(_none(name, pid), Exit.TEMPFAIL)
    return running[0]


def _none(name: str | None, pid: int | None) -> str:
    which = f" named {name}" if name else ""
    which += f" with pid {pid}" if pid else ""
    foreign = ", ".join(str(pid) for pid in _of_other_versions(runtime_directories()))
    others = f"; pid {foreign} runs another version, use kill" if foreign else ""
    return f"no instance{which} is running{others}"


def find(directories: Iterable[Path]) -> Iterator[Instance]:
    """Find the parents whose pages may be read.

    Args:
        directories: where their scoreboards may lie.
    """
    for path in _boards(directories):
        try:
            board, owner = Scoreboard.open(path), path.stat().st_uid
        except (OSError, ValueError):  # not ours to read, just made or removed, or of another version
            continue
        name, pid = path.stem.rpartition(".")[0], int(board.totals[Total.PARENT])
        handle = _handle(pid, int(board.totals[Total.BIRTH]), owner)
        yield Instance(None if name == _UNNAMED else name, pid, board, handle)


def _boards(directories: Iterable[Path]) -> list[Path]:
    return [path for directory in directories for path in sorted(directory.glob(f"*{_SUFFIX}"))]


def _handle(pid: int, born: int, owner: int) -> int | None:
    """Take hold of a process, if it is the one that was started then and belongs to the owner of the page.

    A page that somebody has forged can so have nobody's processes signalled but their own.
    """
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    except OSError as error:
        raise Failure(f"this system does not tell processes apart (pidfd_open: {error.strerror})", Exit.OSERR) from None
    try:
        if birth(pid) == born and psutil.Process(pid).uids().effective == owner:
            return handle
    except psutil.Error:
        pass
    os.close(handle)
    return None


def _of_other_versions(directories: Iterable[Path]) -> Iterator[int]:
    for path in _boards(directories):
        pid = path.stem.rpartition(".")[2]
        try:
            Scoreboard.open(path)
        except ValueError:
            if pid.isdigit() and birth(int(pid)):
                yield int(pid)
        except OSError:
            continue
