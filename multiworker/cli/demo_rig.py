"""What ``multiworker demo`` runs on: a parent with an embedded Redis, in a directory that is removed at the end."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from multiworker.cli import sample
from multiworker.worker.client import QUEUE, Client
from multiworker.worker.errors import MultiworkerError
from multiworker.worker.host import runtime_directory
from multiworker.worker.operate import Filter, Operator
from multiworker.worker.scoreboard import Scoreboard
from multiworker.worker.words import State, Word

CONCURRENCY = 40
"""Tasks that one child runs at once: one child can take over all that another one had."""
PATIENCE = 30.0
"""Seconds until something that does not come is a failure."""
END_TIME = 15.0
"""Seconds that the parent gets to end, its Redis included."""
GRACE = 5.0
LOG_TAIL = 12
"""Lines of the parent's log that a failure shows."""
_LOOK = 0.02
_BETWEEN = 0.001  # seconds between two pushes: of what comes all at once, the first child to wake takes most
QUITTING = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
"""The signals that end the demo."""


class DemoError(MultiworkerError):
    """Something did not happen as it should."""


@dataclass(frozen=True)
class Run:
    """One run of one task.

    Args:
        id: the task's id.
        type: its type.
        pid: the child.
        start: monotonic seconds.
        end: monotonic seconds; None while it runs, and for ever if its child died.
    """

    id: str
    type: str
    pid: int
    start: float
    end: float | None


class Rig:
    """The parent's process and what can be seen of it from outside.

    Args:
        directory: an empty one, for everything that is written.
        procs: how many children.
    """

    def __init__(self, directory: Path, procs: int) -> None:
        self.procs = procs
        self.slots: dict[int, int] = {}
        """Pid of every child seen so far -> which of the wanted places it fills."""
        self._url = f"embedded:{directory / 'redis'}"
        self._directory = directory
        self._ledger = directory / "ledger"
        self._log = directory / "log"
        self._board: Scoreboard | None = None
        self._parent: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the parent, beyond the reach of Ctrl-C: that is for us to hear, and for us to end it in order."""
        options = {"--handler": sample.__name__, "--procs": self.procs, "--concurrency": CONCURRENCY, "--grace": GRACE}
        words = [str(word) for option in options.items() for word in option]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MULTIWORKER_")}
        environment |= {sample.LEDGER: str(self._ledger), "MULTIWORKER_REDIS": self._url}
        # A signal between the fork and the assignment would leave a process that nobody knows.
        with self._log.open("wb") as log, _held_back(QUITTING):
            self._parent = subprocess.Popen(
                [sys.executable, "-m", "multiworker", "start", *words],
                cwd=self._directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,
            )

    def ready(self) -> dict[int, int]:
        """Return pid and slot of every child that is ready."""
        if self._board is None:
            try:
                self._board = Scoreboard.open(runtime_directory() / f"unnamed.{self._process.pid}.board")
            except (OSError, ValueError):
                return {}
        records = [record for record in self._board.present if record[Word.STATE] == State.READY]
        found = {record[Word.PID]: record[Word.SLOT] for record in records}
        self.slots |= found
        return found

    def push(self, payloads: Iterable[str]) -> None:
        """Push as any producer does, one payload after the other.

        Raises:
            RedisUnavailable: Redis does not take them.
        """
        with closing(Client(self._url)) as client:
            for payload in payloads:
                client.ask(("LPUSH", QUEUE, payload))
                time.sleep(_BETWEEN)

    def runs(self) -> list[Run]:
        """Return every run so far, in the order of their starts."""
        try:
            lines = self._ledger.read_text().split("\n")[:-1]
        except FileNotFoundError:
            return []
        runs: dict[tuple[str, int, float], Run] = {}
        for line in lines:
            note = json.loads(line)
            runs[note["id"], note["pid"], note["start"]] = Run(*(note[name] for name in Run.__dataclass_fields__))
        return sorted(runs.values(), key=lambda run: run.start)

    def looks(self, what: str) -> Iterator[None]:
        """Let the caller look again and again, as long as there is hope.

        Args:
            what: is waited for, for the error.

        Raises:
            DemoError: the parent has ended, or it takes too long.
        """
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            yield
            if self._process.poll() is not None:
                raise DemoError(f"the parent ended with exit code {self._process.returncode} before {what}")
            time.sleep(_LOOK)
        raise DemoError(f"waited {PATIENCE:g} s in vain until {what}")

    def dead_letters(self) -> list[tuple[str, str]]:
        """Return reason and payload of every dead letter.

        Raises:
            RedisUnavailable: Redis does not answer.
        """
        with closing(Client(self._url)) as client:
            letters = list(Operator(client.ask, QUEUE).letters(Filter()))
        return [(letter.reason, letter.payload.decode("utf-8", "replace")) for letter in letters]

    def stop(self) -> int:
        """End the parent in order.

        Returns:
            Its exit code.

        Raises:
            DemoError: it does not end.
        """
        self._process.terminate()
        try:
            return self._process.wait(END_TIME)
        except subprocess.TimeoutExpired:
            raise DemoError(f"the parent did not end within {END_TIME:g} s") from None

    def end(self) -> None:
        """End whatever still runs, at once."""
        if self._parent is None or self._parent.poll() is not None:
            return
        self._parent.send_signal(signal.SIGQUIT)
        try:
            self._parent.wait(END_TIME)
        except subprocess.TimeoutExpired:
            self._parent.kill()  # its children and its Redis notice, and end by themselves
            self._parent.wait()

    def log_lines(self) -> list[str]:
        """Return the parent's log."""
        return self._log.read_text(errors="replace").splitlines() if self._log.exists() else []

    @property
    def _process(self) -> "subprocess.Popen[bytes]":
        if self._parent is None:
            raise DemoError("the parent has not been started")
        return self._parent


@contextmanager
def _held_back(numbers: Iterable[signal.Signals]) -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
