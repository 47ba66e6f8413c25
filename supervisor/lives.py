"""What forked processes live: a child, the template of children, a reading of the settings, or a sweep.

Each import hidden in here is made after the fork: only these processes may load redis, asyncio and user code.
"""

import contextlib
import gc
import os
import select
import signal
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from setproctitle import setproctitle

from multiworker.supervisor import process
from multiworker.supervisor.cores import usable_cores
from multiworker.supervisor.header import named
from multiworker.supervisor.letter import Letter, as_plain, from_plain
from multiworker.supervisor.reload import Generation
from multiworker.worker.errors import Exit, SettingsError
from multiworker.worker.host import birth
from multiworker.worker.logs import configure, describe, without_secrets
from multiworker.worker.postponed import postponed
from multiworker.worker.scoreboard import Scoreboard
from multiworker.worker.settings import Settings
from multiworker.worker.trim import trim
from multiworker.worker.words import State, Total, Word

_REQUEST = struct.Struct("=QQQ?")
RARELY_USED = ("redis", "redis.asyncio", "importlib.metadata")
"""Packages of whose modules the engine, and redis-py, need few or none: the rest would take 30 ms and 6 MiB."""
REST_MS = 1000
"""Ms after a birth, and without another, until a template trims itself: that takes 3 ms."""


@dataclass(frozen=True, slots=True)
class Birth:
    """What a child is forked for.

    Args:
        index: of its record in the scoreboard.
        started: what the record says; if it says something else by now, nobody waits for this child any more.
        slot: which of the wanted places it fills, from 1.
        first: nobody has been ready yet.
    """

    index: int
    started: int
    slot: int
    first: bool

    def pack(self) -> bytes:
        """Write it for a template's pipe, which takes it whole or not at all: it is shorter than PIPE_BUF."""
        return _REQUEST.pack(self.index, self.started, self.slot, self.first)


def child(board: Scoreboard, generation: Generation, asked: Birth, run: Callable[..., int]) -> int:
    """Live as a child.

    Args:
        board: the scoreboard.
        generation: whose code and settings it runs.
        asked: which child it is.
        run: run_child(), as the template has prepared it.

    Returns:
        The exit code.
    """
    process.volunteer()
    settings = generation.settings
    title = f"multiworker: child {asked.slot} gen {generation.number}"
    setproctitle(f"{title}{named(settings)}")
    board.records[asked.index][Word.BIRTH] = birth(os.getpid())
    if settings.pin:
        cores = usable_cores()
        os.sched_setaffinity(0, {cores[(asked.slot - 1) % len(cores)]})
    return run(
        settings,
        board,
        asked.index,
        int(board.totals[Total.PARENT]),
        first=asked.first,
        drains=lambda: setproctitle(f"{title} draining{named(settings)}"),
    )


def template(board: Scoreboard | None, orders: Letter, requests: int) -> int:
    """Import what children need, wait for orders, and then fork children for the parent until it hangs up.

    Until there are orders nobody has asked for this template yet, and nobody is to hear of it: not even of an engine
    that does not import, which is tried again with orders.

    Args:
        board: the scoreboard; None if there is none yet, and its path comes with the orders.
        orders: has what order() writes, as soon as there is anything to read from the pipe.
        requests: file descriptor of the pipe from which births come, after one byte for the orders.

    Returns:
        The exit code.
    """
    gc.disable()  # what is imported stays; children switch it on again
    setproctitle("multiworker: template")
    with contextlib.suppress(Exception), postponed(*RARELY_USED):
        from multiworker.worker.process import warm_up  # noqa: PLC0415 - see above

        warm_up()
    if not os.read(requests, 1):
        return Exit.OK
    told = orders.read()
    orders.close()
    generation = Generation(told["generation"], from_plain(told["settings"]))
    configure(generation.settings.log_format, generation.settings.log_level)
    setproctitle(f"multiworker: template gen {generation.number}{named(generation.settings)}")
    return _serve(board or Scoreboard.join(Path(told["board"])), generation, told["index"], requests)


def order(orders: Letter, board: Scoreboard, generation: Generation, index: int) -> None:
    """Write what a template is to do.

    Args:
        orders: what it reads.
        board: the scoreboard.
        generation: whose code and settings it imports.
        index: of its record.
    """
    settings = as_plain(generation.settings)
    orders.write({"board": str(board.path), "generation": generation.number, "settings": settings, "index": index})


def _serve(board: Scoreboard, generation: Generation, index: int, requests: int) -> int:
    from multiworker.worker.process import explained, prepare_to_fork  # noqa: PLC0415 - see above

    record = board.records[index]

    def serve() -> int:
        run, check = prepare_to_fork(generation.settings)
        record[Word.STATE] = State.TEMPLATE
        process.send(int(board.totals[Total.PARENT]), signal.SIGCHLD)
        pending = select.poll()
        pending.register(requests, select.POLLIN)
        while request := os.read(requests, _REQUEST.size):
            check()
            _bear(board, generation, Birth(*_REQUEST.unpack(request)), requests, run)
            if not pending.poll(REST_MS):
                trim()
        return Exit.OK

    return explained(record, serve)


def _bear(board: Scoreboard, generation: Generation, asked: Birth, requests: int, run: Callable[..., int]) -> None:
    """Fork the child that is asked for, and write its pid into its record."""
    record = board.records[asked.index]

    def announce(pid: int) -> None:
        if record[Word.STARTED] == asked.started:
            record[Word.PID] = pid

    def life() -> int:
        os.close(requests)
        if record[Word.STARTED] != asked.started:
            return 0
        return child(board, generation, asked, run)

    if record[Word.STARTED] == asked.started and not process.fork_for(board.totals[Total.PARENT], announce, life):
        record[Word.STATE] = State.SETTLED


def watch(directory: Path, tell: Callable[[], None]) -> int:
    """Look for changes of Python files, for ``--reload``; the parent has neither the threads nor the time for that.

    Args:
        directory: everything in it counts.
        tell: called for each change, or for several that come together.

    Returns:
        The exit code.
    """
    from watchfiles import PythonFilter, watch  # noqa: PLC0415 - it starts a thread

    setproctitle(f"multiworker: watches {directory}")
    for _ in watch(directory, watch_filter=PythonFilter(), raise_interrupt=False):
        tell()
    return 0


def sweep(board: Scoreboard, settings: Settings) -> int:
    """Give back what dead children hold, when nobody is left that could.

    Args:
        board: the scoreboard.
        settings: where Redis is.

    Returns:
        The exit code.
    """
    from multiworker.worker.process import sweep as give_back  # noqa: PLC0415 - see above

    setproctitle(f"multiworker: sweep{named(settings)}")
    return give_back(settings, board)


def resolver(read: Callable[[], Settings], letter: Letter) -> int:
    """Read the settings, and leave them, or what is wrong, in a letter.

    Args:
        read: how; raises SettingsError, or SystemExit if all has been said.
        letter: for the parent; see spoken().

    Returns:
        The exit code.
    """
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)  # it may write to a terminal that holds up the background
    setproctitle("multiworker: settings")
    letter.write(spoken(read))
    return Exit.OK


def spoken(read: Callable[[], Settings]) -> dict[str, Any]:
    """Read the settings.

    Returns:
        ``settings``; or an ``error`` that nobody has been told yet; or the ``exit`` code if everybody has.
    """
    try:
        return {"settings": as_plain(read())}
    except SystemExit as ended:
        return {"exit": ended.code if isinstance(ended.code, int) else Exit.OK if ended.code is None else 1}
    except SettingsError as error:
        return {"error": without_secrets(error)}
    except Exception as error:  # noqa: BLE001 - whatever it is, the parent says so and goes on, or ends
        return {"error": without_secrets(f"the settings could not be read: {describe(error)}")}
