"""What forked processes live: a child, the template of children, or a sweep.

Each import hidden in here is made after the fork: only these processes may load redis, asyncio and user code.
"""

import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from setproctitle import setproctitle

from multiworker.supervisor import process
from multiworker.supervisor.cores import usable_cores
from multiworker.supervisor.header import named
from multiworker.supervisor.reload import Generation
from multiworker.worker.host import birth
from multiworker.worker.scoreboard import Scoreboard
from multiworker.worker.settings import Settings
from multiworker.worker.words import State, Total, Word

_REQUEST = struct.Struct("=QQQ?")


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


def template(board: Scoreboard, generation: Generation, index: int, requests: int, tell: Callable[[], None]) -> int:
    """Import what children need, and fork them for the parent until it hangs up.

    Args:
        board: the scoreboard.
        generation: whose code and settings it imports.
        index: of its record.
        requests: file descriptor of the pipe from which births come.
        tell: wakes the parent.

    Returns:
        The exit code.
    """
    from multiworker.worker.process import explained, prepare_to_fork  # noqa: PLC0415 - see above

    setproctitle(f"multiworker: template gen {generation.number}{named(generation.settings)}")
    record = board.records[index]

    def serve() -> int:
        run, check = prepare_to_fork(generation.settings)
        record[Word.STATE] = State.TEMPLATE
        tell()
        while request := os.read(requests, _REQUEST.size):
            check()
            _bear(board, generation, Birth(*_REQUEST.unpack(request)), requests, run)
        return 0

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
