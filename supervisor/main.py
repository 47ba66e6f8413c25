"""Becoming the parent: locks, scoreboard, and the exit code."""

import contextlib
import gc
import importlib
import importlib.util
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from multiworker.supervisor import early, pidfile, process, signals
from multiworker.supervisor.early import Early
from multiworker.supervisor.notify import Notifier
from multiworker.supervisor.parent import Parent
from multiworker.supervisor.templates import Begun
from multiworker.worker import logs
from multiworker.worker.addresses import is_embedded
from multiworker.worker.errors import Exit, SettingsError
from multiworker.worker.host import birth, runtime_directory
from multiworker.worker.scoreboard import Scoreboard
from multiworker.worker.settings import MAX_PROCS, Settings
from multiworker.worker.words import Total

if TYPE_CHECKING:  # see _server()
    from multiworker.supervisor.redis_server import RedisServer

log = logging.getLogger("multiworker.supervisor")

_SERVER = "multiworker.supervisor.redis_server"
"""Imported only for an embedded Redis: it takes modules that no other parent needs."""


def run(first: Callable[[], Settings], again: Callable[[], Settings]) -> int:
    """Be the parent until there is nothing left to do.

    Args:
        first: reads the settings; raises SystemExit if there is nothing to run, and all has been said.
        again: reads the settings anew, for SIGHUP; raises SettingsError. Both are called in processes of their own.

    Returns:
        The exit code.
    """
    signals.block()
    logs.configure("text", "info")
    with contextlib.ExitStack() as undo:
        notifier = undo.enter_context(contextlib.closing(Notifier()))
        begun = early.begin(first, notifier.fds)
        undo.callback(_abandon, begun.template)
        if not (settings := begun.answer.settings):
            if begun.answer.trouble:
                log.error("%s", begun.answer.trouble)
            return begun.answer.code
        logs.configure(settings.log_format, settings.log_level)
        return _live(settings, again, begun, notifier, undo)


def _abandon(template: Begun | None) -> None:
    """End a template that has never got orders."""
    if template and template.waits:
        process.end([template.pid])


def _live(
    settings: Settings, again: Callable[[], Settings], begun: Early, notifier: Notifier, undo: contextlib.ExitStack
) -> int:
    try:
        parent = _prepare(settings, again, begun, notifier, undo)
    except pidfile.AlreadyRunningError as error:
        log.error("already running: %s", error)
        return Exit.TEMPFAIL
    except SettingsError as error:
        log.error("%s", error)
        return Exit.USAGE
    except OSError as error:
        log.error("%s", f"cannot write {error.filename}: {error.strerror}" if error.filename else error)
        return Exit.CANTCREAT
    gc.freeze()
    gc.enable()
    for arrival in begun.arrivals:
        parent.take(arrival)
    return parent.live()


def _prepare(
    settings: Settings, again: Callable[[], Settings], begun: Early, notifier: Notifier, undo: contextlib.ExitStack
) -> Parent:
    """Take the locks and make the scoreboard; `undo` removes the files again."""
    if settings.reload and not importlib.util.find_spec("watchfiles"):
        raise SettingsError("--reload: needs watchfiles: pip install 'multiworker[reload]'")
    locks = notifier.fds
    if settings.pidfile:
        path = Path(settings.pidfile)
        locks.append(pidfile.lock(path))
        undo.callback(pidfile.remove, path, locks[-1])
    server = _server(settings)
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
    return Parent(settings, again, board, server, locks, notifier, begun.template)


def _server(settings: Settings) -> "RedisServer | None":
    if not is_embedded(settings.redis):
        return None
    server: RedisServer = importlib.import_module(_SERVER).RedisServer(settings.redis)
    return server


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
