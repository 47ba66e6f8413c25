"""Where rows of the parent's acceptance list are measured: real parents on a real Redis, and what the kernel tells."""

import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from multiworker.worker.scoreboard import Record, Scoreboard
from multiworker.worker.words import State, Word
from tests.fix_redis import RedisServer
from tests.system.fix_system import Engine

T = TypeVar("T")

PATIENCE = 120.0
"""Seconds until what is waited for counts as missing."""
LOOK = 0.002
MIB = 2**20
_TICKS = os.sysconf("SC_CLK_TCK")


class MissingError(Exception):
    """What a row waits for did not come."""


@dataclass(frozen=True)
class Measured:
    """What came of a row.

    Args:
        said: the figures.
        right: what must hold however slow the machine is.
        in_time: what depends on time, memory or CPU.
    """

    said: str
    right: bool
    in_time: bool = True


class Bench:
    """Makes engines.

    Args:
        server: Redis, running.
        quick: take small numbers.
    """

    def __init__(self, server: RedisServer, *, quick: bool) -> None:
        self.quick = quick
        self._server = server

    def take(self, whole: T, short: T) -> T:
        """Choose a number."""
        return short if self.quick else whole

    @contextlib.contextmanager
    def engine(
        self,
        *options: str,
        procs: int = 4,
        wait: bool = True,
        code: str = "",
        constants: dict[str, float] | None = None,
        become: list[str] | None = None,
        change: str = "",
        files: dict[str, str] | None = None,
    ) -> Iterator[Engine]:
        """Start a parent.

        Args:
            options: of ``multiworker start``.
            procs: how many children.
            wait: until they are ready.
            code: stands in the handlers' module.
            constants: what some of the supervisor's are changed to, as ``reload.PAUSE``.
            become: what stands before the command.
            change: a line that changes more of it.
            files: more that lies in the working directory.
        """
        with tempfile.TemporaryDirectory(prefix="mw-parent-") as path:
            engine = Engine(Path(path), self._server.url)
            try:
                engine.client.flushall()
                engine.write_handlers(("CODE = ", f"{code}\nCODE = "))
                for name, text in (files or {}).items():
                    (engine.directory / name).write_text(text)
                if constants or change:
                    engine.command = [sys.executable, "-c", _changed(constants or {}, change)]
                engine.command = [*(become or []), *engine.command]
                engine.start(*options, procs=procs, wait=wait)
                yield engine
            finally:
                engine.close()


def _changed(constants: dict[str, float], change: str) -> str:
    changes = [f"{name} = {value}" for name, value in constants.items()]
    lines = ["import os", "from multiworker.supervisor import lives, parent, reload, restart", *changes, change]
    return "\n".join([*lines, "from multiworker.cli import main", "main()"])


def after(condition: Callable[[], object], what: str, patience: float = PATIENCE) -> float:
    """Wait for something.

    Returns:
        Seconds that it took.

    Raises:
        MissingError: it did not come.
    """
    begun = time.monotonic()
    while not condition():
        if time.monotonic() - begun > patience:
            raise MissingError(f"{what}: did not come")
        time.sleep(LOOK)
    return time.monotonic() - begun


def board_of(engine: Engine) -> Scoreboard:
    """Return the scoreboard of a parent that has one by now."""
    after(engine.board, "the scoreboard")
    board = engine.board()
    assert board
    return board


def staff(board: Scoreboard, *states: State) -> list[Record]:
    """Return the records of children in some states."""
    return [record for record in board.present if record[Word.SLOT] and record[Word.STATE] in states]


def children(engine: Engine) -> list[int]:
    """Return the pids of all live processes but the last parent."""
    return [pid for pid in engine.processes() if pid != engine.pid]


def boot_time(board: Scoreboard, count: int, forks: int) -> float:
    """Wait until so many children are ready, and return the seconds since the first of the last `forks` of them."""
    after(lambda: len(staff(board, State.READY)) >= count, f"{count} ready children")
    return time.monotonic() - sorted(record[Word.STARTED] for record in staff(board, State.READY))[-forks] / 1e9


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process has taken; 0 if it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _TICKS  # proc(5): utime and stime


def status(pid: int, name: str) -> int:
    """Return a number of /proc/PID/status: Threads, or VmRSS in bytes."""
    (line,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith(f"{name}:")]
    return int(line.split()[1]) * (1024 if line.endswith("kB") else 1)


def pss(pids: list[int]) -> int:
    """Return the proportional set size of processes, in bytes: what is shared counts in parts."""
    return sum(_pss(pid) for pid in pids)


def _pss(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
