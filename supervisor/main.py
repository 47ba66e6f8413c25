"""Becoming the parent: locks, scoreboard, and the exit code."""

import contextlib
import importlib.util
import logging
import os
from collections.abc import Callable
from pathlib import Path

from multiworker.supervisor import pidfile, signals
from multiworker.supervisor.notify import Notifier
from multiworker.supervisor.parent import Parent
from multiworker.supervisor.redis_server import RedisServer
from multiworker.worker.embedded import is_embedded
from multiworker.worker.errors import Exit, SettingsError
from multiworker.worker.host import birth, runtime_directory
from multiworker.worker.scoreboard import Scoreboard
from multiworker.worker.settings import MAX_PROCS, Settings
from multiworker.worker.words import Total

log = logging.getLogger("multiworker.supervisor")


def run(settings: Settings, resolve: Callable[[], Settings]) -> int:
    """Be the parent until there is nothing left to do.

    Args:
        settings: validated.
        resolve: reads the settings anew, for SIGHUP.

    Returns:
        The exit code.
    """
    signals.block()
    with contextlib.ExitStack() as undo:
        notifier = undo.enter_context(contextlib.closing(Notifier()))
        try:
            parent = _prepare(settings, resolve, notifier, undo)
        except pidfile.AlreadyRunningError as error:
            log.error("already running: %s", error)
            return Exit.TEMPFAIL
        except SettingsError as error:
            log.error("%s", error)
            return Exit.USAGE
        except OSError as error:
            log.error("%s", f"cannot write {error.filename}: {error.strerror}" if error.filename else error)
            return Exit.CANTCREAT
        return parent.live()


def _prepare(
    settings: Settings, resolve: Callable[[], Settings], notifier: Notifier, undo: contextlib.ExitStack
) -> Parent:
    """Take the locks and make the scoreboard; `undo` removes the files again."""
    if settings.reload and not importlib.util.find_spec("watchfiles"):
        raise SettingsError("--reload: needs watchfiles: pip install 'multiworker[reload]'")
    locks = notifier.fds
    if settings.pidfile:
        path = Path(settings.pidfile)
        locks.append(pidfile.lock(path))
        undo.callback(pidfile.remove, path, locks[-1])
    server = RedisServer(settings.redis) if is_embedded(settings.redis) else None
    if server:
        locks.append(server.lock())
    directory = runtime_directory()
    if settings.name:
        held = directory / f"{settings.name}.lock"
        locks.append(pidfile.lock(held))
        undo.callback(pidfile.remove, held, locks[-1])
    _remove_left_boards(directory)
    board = Scoreboard.create(directory / f"{settings.name or 'unnamed'}.{os.getpid()}.board", 2 * MAX_PROCS + 2)
    undo.callback(board.path.unlink, missing_ok=True)
    return Parent(settings, resolve, board, server, locks, notifier)


def _remove_left_boards(directory: Path) -> None:
    """Remove the scoreboards of parents that were killed; children of theirs that still drain keep theirs mapped."""
    for path in directory.glob("*.board"):
        pid = path.stem.rpartition(".")[2]
        if not (pid.isdigit() and birth(int(pid)) and _is_of(path, birth(int(pid)))):
            path.unlink(missing_ok=True)


def _is_of(path: Path, born: int) -> bool:
    """Tell whether a scoreboard may be of the process that was started then; of another version's, nobody can tell."""
    try:
        return Scoreboard.open(path).totals[Total.BIRTH] == born
    except (OSError, ValueError):
        return True
