"""Where contenders are measured: one Redis, emptied before each measurement, and the contender's own processes."""

import contextlib
import json
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import redis

from bench import lib, meter
from bench.contenders import Contender, commands
from bench.environments import OWN, binaries
from bench.meter import Counter, Meter
from bench.work import NOTE, NOTES

PROCS = 2
PERMITS = 20
WIDE = 200
"""Permits of the load that has many of them."""
_LOOK = 0.005
_TAIL = 800
"""Characters of a log that go into an error."""


@dataclass(frozen=True)
class Note:
    """The noted start of a task.

    Args:
        pid: in which process.
        data: what the task was sent with.
        at: monotonic nanoseconds.
    """

    pid: int
    data: int
    at: int


@dataclass(frozen=True)
class Pushed:
    """What a producer reports.

    Args:
        began: when its first call did, in monotonic nanoseconds.
        seconds: that the calls after the first have taken.
        sent: tasks that these calls have sent.
    """

    began: int
    seconds: float
    sent: int


class Workers:
    """A contender's running worker processes, and what they note.

    Args:
        processes: those that were started.
        meter: what they count in.
        notes: what they note starts in.
        log: what they print to.
    """

    def __init__(self, processes: list[subprocess.Popen[bytes]], page: Meter, notes: Path, log: Path) -> None:
        self.meter = page
        self._processes = processes
        self._notes = notes
        self._log = log

    def alive(self) -> bool:
        """Tell whether all that were started still run."""
        return all(process.poll() is None for process in self._processes)

    def pids(self) -> list[int]:
        """Return all processes, with whatever these have started."""
        return [pid for process in self._processes for pid in lib.session(process.pid)]

    def notes(self) -> list[Note]:
        """Return the starts noted so far."""
        raw = self._notes.read_bytes() if self._notes.exists() else b""
        return [Note(*fields) for fields in NOTE.iter_unpack(raw[: len(raw) // NOTE.size * NOTE.size])]

    def until_noted(self, count: int, patience: float) -> list[Note]:
        """Wait for so many noted starts.

        Raises:
            RuntimeError: they did not come; the message ends with the log.
        """
        deadline = time.monotonic() + patience
        while len(found := self.notes()) < count:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{len(found)} of {count} tasks have started: {self.said()}")
            time.sleep(_LOOK)
        return found

    def rate(self, tasks: int, patience: float) -> float:
        """Measure; see meter.rate()."""
        with self._telling():
            return meter.rate(self.meter, tasks, self.alive, patience)

    def until_done(self, tasks: int, patience: float, *, more: bool = False, counter: Counter | None = None) -> float:
        """Wait until so many tasks are done.

        Args:
            tasks: how many.
            patience: seconds.
            more: there are more; else one more is an error.
            counter: what counts them, if not the meter.

        Returns:
            When, in monotonic seconds.
        """
        with self._telling():
            at, done = meter.reach(counter or self.meter, tasks, self.alive, patience)
            if done > tasks and not more:
                raise RuntimeError(f"{done} tasks were done of {tasks}")
            return at

    @contextlib.contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            raise RuntimeError(f"{error}: {self.said()}") from None

    def said(self) -> str:
        """Return the end of what they printed."""
        return self._log.read_text(errors="replace")[-_TAIL:].strip() or "they printed nothing"


class Stand:
    """The place.

    Args:
        directory: of the Redis server.
        client: of it.
    """

    def __init__(self, directory: Path, client: redis.Redis) -> None:
        self.directory = directory
        self.client = client
        self.socket = lib.socket(directory)
        self._runs = 0

    def page(self) -> Meter:
        """Empty Redis, and return a new meter."""
        self.client.flushall()
        self._runs += 1
        return Meter(self.directory / f"meter-{self._runs}")

    @contextlib.contextmanager
    def program(self, arguments: list[str], page: Meter) -> Iterator[Workers]:
        """Run a program of our own that counts and notes as workers do."""
        name = f"{arguments[2]}-{self._runs}"
        log, notes = self.directory / f"{name}.log", self.directory / f"{name}.notes"
        known = {"BENCH_REDIS": f"unix://{self.socket}", NOTES: str(notes)} | lib.metered(page.path)
        with lib.running(arguments, log, known) as process:
            yield Workers([process], page, notes, log)

    def environment(self, contender: Contender, permits: int = PERMITS) -> dict[str, str]:
        """Return what a contender's processes get to know."""
        url = f"unix://{self.socket}"
        own = {"REDIS_URL": url, "RUNTIME_DIRECTORY": str(self.directory)} if contender.environment == OWN else {}
        return {"BENCH_REDIS": url, "BENCH_PERMITS": str(permits)} | own | contender.variables

    def push(self, contender: Contender, mode: str, task: str, count: int, patience: float = 120) -> Pushed:
        """Have the contender's producer send tasks; see push.py.

        Raises:
            RuntimeError: it failed; the message ends with what it printed.
        """
        python = str(binaries(contender.environment) / "python")
        out, log = self.directory / "pushed", self.directory / "push.log"
        out.unlink(missing_ok=True)
        program = [python, "-m", "bench.push", contender.module, mode, task, str(count)]
        with lib.running(program, out, self.environment(contender)) as process:
            try:
                code = process.wait(patience)
            except subprocess.TimeoutExpired:
                raise RuntimeError(f"to send {count} tasks took more than {patience:.0f} s") from None
        said = out.read_text(errors="replace")
        log.write_text(said)
        if code:
            raise RuntimeError(f"the producer ended with exit code {code}: {said[-_TAIL:].strip()}")
        return Pushed(**json.loads(said.splitlines()[-1]))

    @contextlib.contextmanager
    def workers(
        self,
        contender: Contender,
        page: Meter,
        *,
        procs: int = PROCS,
        permits: int = PERMITS,
        grace: float = lib.GRACE,
        more: tuple[str, ...] = (),
    ) -> Iterator[Workers]:
        """Run a contender's worker processes.

        Args:
            contender: which one.
            page: what they count in.
            procs: how many.
            permits: tasks at once in each.
            grace: seconds that they get to end in order.
            more: further arguments.
        """
        name = f"{contender.module}-{self._runs}"
        log, notes = self.directory / f"{name}.log", self.directory / f"{name}.notes"
        environment = self.environment(contender, permits) | {NOTES: str(notes)} | lib.metered(page.path)
        where = binaries(contender.environment)
        with contextlib.ExitStack() as stack:
            processes = []
            for program, *arguments in commands(contender, procs, permits):
                started = lib.running([str(where / program), *arguments, *more], log, environment, grace=grace)
                processes.append(stack.enter_context(started))
            yield Workers(processes, page, notes, log)
