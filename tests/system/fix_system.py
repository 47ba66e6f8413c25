"""A pytest plugin: `multiworker start` as a user runs it, with its processes, log, scoreboard and a ledger of tasks."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pytest
import redis

from multiworker.worker.scoreboard import Record, Scoreboard
from multiworker.worker.words import State, Word
from tests.fix_redis import RedisServer
from tests.waiting import PATIENCE, PAUSE, sync_until

T = TypeVar("T")

QUEUE = "async_tasks"
PREFIX = f"{{{QUEUE}}}:"

HANDLERS = '''
"""Tasks that note what they do. Their type says what, their data how; a gate is a file that lets them go on."""

import asyncio
import json
import os
import time
from pathlib import Path

import multiworker

HERE = Path(__file__).parent
LEDGER = os.open(HERE / "ledger.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
CODE = "one"


def note(event, n):
    entry = {"event": event, "n": n, "pid": os.getpid(), "attempt": multiworker.current().attempt, "code": CODE}
    entry["at"] = time.monotonic()
    os.write(LEDGER, json.dumps(entry).encode() + b"\\n")


def closed(data):
    return not (HERE / data.get("gate", "gate")).exists()


async def run(task):
    data = task["data"]
    note("start", data["n"])
    await globals()["do_" + task["type"]](data)
    note("end", data["n"])


async def do_quick(data):
    await asyncio.sleep(data.get("seconds", 0))


async def do_hold(data):
    while closed(data):
        await asyncio.sleep(0.005)


async def do_fail(data):
    if multiworker.current().attempt <= data["times"]:
        raise ValueError("as told")


async def do_die(data):
    if "exit" in data:
        os._exit(data["exit"])
    os.kill(os.getpid(), data["signal"])


async def do_spawn(data):
    await asyncio.create_subprocess_exec("sleep", "1000")
    note("spawned", data["n"])
    await do_hold(data)


async def do_block(data):
    while closed(data):
        time.sleep(0.005)


async def do_stubborn(data):
    while True:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            note("cancelled", data["n"])


async def do_print(data):
    print("a line that nobody reads")


async def do_grow(data):
    globals().setdefault("KEPT", []).append(b"x" * data["bytes"])


@multiworker.handler("thread")
def in_thread(data):
    note("start", data["n"])
    while closed(data):
        time.sleep(0.005)
    note("end", data["n"])


@multiworker.handler("retried", backoff=0.05)
async def retried(data):
    note("start", data["n"])
    await do_fail(data)
    note("end", data["n"])
'''


def until(found: Callable[[], T | None], what: str, trouble: Callable[[], str] = str) -> T:
    """Look again and again until something is there.

    Args:
        found: what to look at; anything true ends the wait.
        what: is waited for, for the failure.
        trouble: says more when it does not come.
    """
    try:
        return sync_until(found)
    except TimeoutError:
        pytest.fail(f"{what}: did not come\n{trouble()}")


class Engine:
    """One parent with its children, in a session of its own, so that none of its processes can get away.

    Args:
        directory: its working directory, where the handlers lie.
        url: of the Redis server; there is no client if it names several.
    """

    def __init__(self, directory: Path, url: str) -> None:
        self.directory = directory
        self.url = url
        self.client: Any = None if "+" in url else redis.Redis.from_url(url, decode_responses=True)
        self.log_file = directory / "log"
        self.environment: dict[str, str] = {}
        self.command = multiworker()
        self._parents: list[subprocess.Popen[bytes]] = []
        self._commands: list[subprocess.Popen[str]] = []
        self._boards: dict[int, Scoreboard] = {}
        self.write_handlers()

    # Before and at the start

    def write_handlers(self, *changes: tuple[str, str]) -> None:
        """Write the handler module anew, with texts replaced."""
        text = HANDLERS
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        (self.directory / "h.py").write_text(text)

    def start(
        self,
        *options: str,
        procs: int | str = 2,
        wait: bool = True,
        before: str = "",
        program: Sequence[str] | None = None,
        **popen: Any,
    ) -> None:
        """Start a parent.

        Args:
            options: of ``multiworker start``, beyond handler, Redis and number of children.
            procs: how many children; a text is not told on the command line.
            program: what becomes the parent, instead of ``multiworker start`` with a handler.
            wait: until they are ready.
            before: what a shell does before it becomes the parent.
            popen: more for subprocess.Popen.
        """
        with self.log_file.open("ab") as log:
            command = [*(program or [*self.command, "start", "--handler", "h:run"]), *options]
            if isinstance(procs, int):
                command += ["--procs", str(procs)]
            if before:
                command = ["sh", "-c", f'{before}\nexec "$@"', "sh", *command]
            how: dict[str, Any] = {
                "stdin": subprocess.DEVNULL,
                "stdout": log,
                "stderr": log,
                "start_new_session": True,
            } | popen
            parent = subprocess.Popen(
                command,
                cwd=self.directory,
                env=self._variables(),
                **how,
            )
        self._parents.append(parent)
        if wait:
            self.until_ready(int(procs))

    def _variables(self) -> dict[str, str]:
        """Return the environment of parents and commands."""
        runtime = self.directory / "runtime"
        runtime.mkdir(exist_ok=True)
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("MULTIWORKER_", "REDIS", "NOTIFY"))}
        own = {
            "RUNTIME_DIRECTORY": str(runtime),
            "REDIS_URL": self.url,
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONUNBUFFERED": "",
        }
        return inherited | own | self.environment

    # Commands

    def begin(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a command that acts on the parent."""
        pipe = subprocess.PIPE
        command, variables = [*self.command, *arguments], self._variables()
        begun = subprocess.Popen(command, cwd=self.directory, env=variables, stdout=pipe, stderr=pipe, text=True)
        self._commands.append(begun)
        return begun

    def call(self, *arguments: str) -> "Answer":
        """Run a command that acts on the parent, to its end."""
        return answer(self.begin(*arguments))

    # Processes

    @property
    def parent(self) -> subprocess.Popen[bytes]:
        """The parent started last."""
        return self._parents[-1]

    @property
    def pid(self) -> int:
        """The parent's process id."""
        return self.parent.pid

    def processes(self) -> list[int]:
        """Return every live process of the parents ever started, orphans included."""
        sessions = {parent.pid for parent in self._parents}
        return [one.pid for one in system_processes() if one.session in sessions and one.is_alive]

    def send(self, number: signal.Signals, pid: int | None = None) -> None:
        """Send a signal to the parent, or to another of its processes."""
        os.kill(pid or self.pid, number)

    def kill(self, pid: int) -> None:
        """Kill a process, and wait until it is gone."""
        self.send(signal.SIGKILL, pid)
        until(lambda: pid not in self.processes(), f"the end of {pid}", self.text)

    def exit_code(self) -> int:
        """Wait until the parent has ended."""
        until(lambda: self.parent.poll() is not None, "the parent's end", self.text)
        return self.parent.returncode

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End the parent in order, and see that it leaves no process behind and that its ledger adds up.

        Returns:
            Its exit code.
        """
        self.send(number)
        return self.finish()

    def finish(self) -> int:
        """Wait until the parent ends by itself; see that it leaves no process behind and that its ledger adds up.

        Returns:
            Its exit code.
        """
        code = self.exit_code()
        until(lambda: not self.processes(), "the end of all processes", self.text)
        assert self.conserved(), self.text()
        return code

    def close(self) -> None:
        """End everything at once, whatever state it is in."""
        while alive := self.processes():
            for pid in alive:
                _kill(pid)
            for parent in self._parents:
                parent.poll()
            time.sleep(PAUSE)
        for parent in self._parents:
            parent.wait()
        for command in self._commands:  # left by a test that failed; its second try must not fail for that
            with command:
                command.kill()
        if self.client:
            self.client.close()

    # What it shows

    def text(self) -> str:
        """Return the log so far."""
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def lines(self, pattern: str) -> list[str]:
        """Return the log's lines that match."""
        return [line for line in self.text().splitlines() if re.search(pattern, line)]

    def until_line(self, pattern: str, count: int = 1) -> list[str]:
        """Wait for so many matching lines in the log."""
        return until(lambda: (found := self.lines(pattern))[count - 1 :] and found, f"log line {pattern}", self.text)

    def conserved(self) -> dict[str, int]:
        """Return the last line of conservation; empty if it does not add up."""
        last = self.lines(r"claimed \d+ = ")[-1]
        numbers = {name.strip(): int(n) for name, n in re.findall(r"([a-z][a-z ]*) (\d+)", last)}
        ends = ("done", "retried", "dead", "given back", "in flight")
        adds_up = last.endswith(": adds up") and numbers["claimed"] == sum(numbers[end] for end in ends)
        return numbers if adds_up else {}

    def records(self) -> list[Record]:
        """Return the scoreboard's records in use."""
        board = self.board()
        return board.present if board else []

    def board(self) -> Scoreboard | None:
        """Return the scoreboard, if there is one."""
        if self.pid not in self._boards:
            try:
                (path,) = (self.directory / "runtime").glob(f"*.{self.pid}.board")
                self._boards[self.pid] = Scoreboard.open(path)
            except (FileNotFoundError, ValueError):  # there is none, or it is just being made
                return None
        return self._boards[self.pid]

    def ready(self, generation: int | None = None) -> list[int]:
        """Return the pids of ready children."""
        return [
            record[Word.PID]
            for record in self.records()
            if record[Word.STATE] == State.READY and generation in (None, record[Word.GENERATION])
        ]

    def templates(self) -> list[int]:
        """Return the pids of templates, be it that they still import."""
        board = self.board()
        states = (State.TEMPLATE_IMPORT, State.TEMPLATE)
        return [record[Word.PID] for record in board.records if record[Word.STATE] in states] if board else []

    def until_ready(self, count: int, generation: int | None = None) -> list[int]:
        """Wait until exactly so many children are ready, and no other process is left of them.

        Returns:
            Their pids, ascending.
        """

        def found() -> list[int]:
            if self.parent.poll() is not None:
                pytest.fail(f"the parent ended with {self.parent.returncode}\n{self.text()}")
            pids = sorted(self.ready(generation))
            alive = sorted(set(self.processes()) - {self.pid, *self.templates()})
            return pids if len(pids) == count and pids == alive else []

        return until(found, f"{count} ready children", self.text)

    def until_draining(self, count: int) -> None:
        """Wait until so many children take nothing more."""

        def found() -> bool:
            return sum(record[Word.STATE] == State.DRAIN for record in self.records()) == count

        until(found, f"{count} draining children", self.text)

    # Tasks

    def push(self, kind: str, *numbers: int, **data: Any) -> None:
        """Push one task for each number, as any producer does."""
        self.client.lpush(QUEUE, *[json.dumps({"type": kind, "data": {"n": n} | data}) for n in numbers])

    def open_gate(self, gate: str = "gate") -> None:
        """Let the tasks go on that wait for a gate."""
        (self.directory / gate).touch()

    def ledger(self, event: str = "start") -> list[dict[str, Any]]:
        """Return what handlers have noted of an event, oldest first."""
        path = self.directory / "ledger.jsonl"
        entries = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        return [entry for entry in entries if entry["event"] == event]

    def runs(self, event: str = "start") -> Counter[int]:
        """Return how often each task has come to an event."""
        return Counter(entry["n"] for entry in self.ledger(event))

    def until_noted(self, count: int, event: str = "start") -> list[dict[str, Any]]:
        """Wait until handlers have noted an event so often."""
        return until(
            lambda: (found := self.ledger(event))[count - 1 :] and found,
            f"{count} x {event}",
            lambda: f"{len(self.ledger(event))} so far\n{self.text()}",
        )

    def dead_letters(self) -> list[dict[str, str]]:
        """Return the dead letters' fields."""
        return [fields for _, fields in self.client.xrange(PREFIX + "dead")]

    def left_in_redis(self) -> dict[str, int]:
        """Return how many tasks lie where in Redis; empty if there are none. The hand-off is the queue's head."""
        waiting = [*self.client.lrange(QUEUE, 0, -1), *self.client.lrange(PREFIX + "handoff", 0, -1)]
        places = {
            "queue": sum(payload != "" for payload in waiting),
            "scheduled": self.client.zcard(PREFIX + "scheduled"),
            "suspects": self.client.llen(PREFIX + "suspects"),
            "in flight": sum(len(self.held(key)) for key in self.client.scan_iter(PREFIX + "inflight:*")),
        }
        return {place: count for place, count in places.items() if count}

    def held(self, key: str) -> list[str]:
        """Return the frames in one worker's in-flight hash."""
        return [frame for delivery, frame in self.client.hgetall(key).items() if "." in delivery]


class Answer(NamedTuple):
    """What a command said.

    Args:
        code: its exit code.
        out: its standard output.
        err: its standard error.
    """

    code: int
    out: str
    err: str


def answer(process: subprocess.Popen[str]) -> Answer:
    """Wait for the end of a command."""
    with process:
        try:
            out, err = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    return Answer(process.returncode, out, err)


def multiworker() -> list[str]:
    """Return the command, as the environment that runs the tests has installed it."""
    return [str(Path(sys.executable).with_name("multiworker"))]


def command_line(pid: int) -> str:
    """Return what ps shows of a process."""
    return kernel_file(pid, "cmdline").replace("\0", " ").strip()


def kernel_file(pid: int, name: str) -> str:
    """Return what the kernel tells of a process in a file of proc(5); nothing of one that has just ended."""
    try:
        return Path(f"/proc/{pid}/{name}").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


class Process(NamedTuple):
    """A process of this machine, as the kernel shows it.

    Args:
        pid: its id.
        name: its program.
        state: one letter.
        parent: its parent's id.
        session: the id of the process that leads its session.
    """

    pid: int
    name: str
    state: str
    parent: int
    session: int

    @property
    def is_alive(self) -> bool:
        """It has not ended; it may have been stopped."""
        return self.state not in "ZX"


def system_processes() -> list[Process]:
    """Return all processes of this machine."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            head, _, rest = (folder / "stat").read_text().rpartition(")")
        except OSError:  # it has ended just now
            continue
        state, parent, _, session = rest.split()[:4]
        found.append(Process(int(folder.name), head.partition("(")[2], state, int(parent), int(session)))
    return found


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


@pytest.fixture
def engine(tmp_path: Path, redis_url: str) -> Iterator[Engine]:
    """An engine on the shared server, not started yet; all its processes are gone after the test."""
    made = Engine(tmp_path, redis_url)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def engine_of_its_own(tmp_path: Path, private_redis: RedisServer) -> Iterator[Engine]:
    """An engine on a server that the test may stop and kill."""
    made = Engine(tmp_path, private_redis.url)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def lasting_redis() -> Iterator[RedisServer]:
    """A server of the test's own that knows after a crash what it knew before."""
    server = RedisServer(Path(tempfile.mkdtemp(prefix="mw-")), "--appendonly", "yes", "--appendfsync", "always")
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(server.directory)


@pytest.fixture
def lasting_engine(tmp_path: Path, lasting_redis: RedisServer) -> Iterator[Engine]:
    """An engine on a server that may crash."""
    made = Engine(tmp_path, lasting_redis.url)
    try:
        yield made
    finally:
        made.close()


class Watch:
    """Looks at the scoreboard all the time, and knows the lowest number of ready children that it has seen.

    Args:
        engine: started.
    """

    def __init__(self, engine: Engine) -> None:
        board = engine.board()
        assert board
        self.lowest = len(engine.ready())
        self.looks = 0
        self._board = board
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        before: list[int] = []
        while not self._over.is_set():
            states = [record[Word.STATE] for record in self._board.records[:32]]
            if states == before:  # nothing changed between two looks, so these states were there at the same time
                self.lowest = min(self.lowest, states.count(State.READY))
                self.looks += 1
            before = states
