"""The field of a chaos run: a private Redis, parents, a proxy, a producer, and files that outlive all of them."""

import contextlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis
from redis.backoff import ConstantBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from multiworker.worker.scoreboard import Record, Scoreboard
from multiworker.worker.words import State, Word
from tests.chaos.ledger import ACK_TIME, EVERYBODY, LEDGER, Fault, kill, read, read_fatal
from tests.chaos.producer import QUEUE, Producer
from tests.chaos.report import Evidence, Line
from tests.fix_redis import RedisServer
from tests.proxy import Rule, plan_line
from tests.system.fix_system import system_processes

ROOT = Path(__file__).resolve().parents[2]
PREFIX = "{async_tasks}:"
LOOK = 0.05
"""Seconds between two looks at what is waited for."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to do, in numbers; times in seconds."""

    seconds: float = 60.0
    """How long faults go on."""
    every: float = 0.2
    """Between two faults."""
    parents: int = 2
    procs: int = 4
    concurrency: int = 50
    stuck: float = 30.0
    """--stuck-timeout; the lease is 1.5 times as long."""
    rate: int = 1_000
    """Tasks pushed a second."""
    shortest: float = 0.005
    longest: float = 0.05
    """Of a task."""
    hold: float = 0.0
    """How long a fault lasts, such as a pause or a ghost's delay."""
    count: int = 0
    """How often, where a scenario counts instead of taking time."""
    pills: int = 0
    """Tasks that end their process."""
    timed: bool = True
    """How soon things happen counts, too."""
    seed: int = 0
    patience: float = 300.0
    """When what is waited for counts as missing."""

    @property
    def lease(self) -> float:
        return 1.5 * self.stuck


class Missing(Exception):
    """What a run waits for did not come."""


class Parent:
    """One `multiworker start`, in a session of its own.

    Args:
        directory: of the run.
        number: of this parent.
        url: of Redis, or of what stands before it.
        options: of the command.
    """

    def __init__(self, directory: Path, number: int, url: str, options: Sequence[str]) -> None:
        self.log_file = directory / f"log.{number}"
        self.code: int | None = None
        """Its exit code, if it was told to stop."""
        self._directory = directory
        self._board: Scoreboard | None = None
        own = {LEDGER: str(directory / "ledger"), "REDIS_URL": url, "RUNTIME_DIRECTORY": str(directory)}
        command = [str(Path(sys.executable).with_name("multiworker")), "start", "--handler", "tests.chaos.noting"]
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, *options],
                cwd=ROOT,
                env=os.environ | own,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    def ready(self) -> list[Record]:
        """The records of ready children."""
        if self._board is None:
            try:
                self._board = Scoreboard.open(self._directory / f"unnamed.{self.pid}.board")
            except (FileNotFoundError, ValueError):  # it is still being made
                return []
        return [record for record in self._board.present if record[Word.STATE] == State.READY]

    def processes(self) -> list[int]:
        """Every live process of its session."""
        return [one.pid for one in system_processes() if one.session == self.pid and one.is_alive]

    def term(self) -> None:
        """Tell it to stop."""
        self.process.terminate()

    def wait(self, patience: float) -> None:
        """Wait until it has stopped."""
        self.code = self.process.wait(patience)

    def close(self) -> None:
        """End the whole of it, whatever has happened."""
        while alive := self.processes():
            for pid in alive:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
                    os.kill(pid, signal.SIGKILL)
            self.process.poll()
            time.sleep(0.01)
        self.process.wait()


class Field:
    """One run.

    Args:
        plan: the numbers.
        directory: for everything that is written.
        server: Redis, running.
    """

    def __init__(self, plan: Plan, directory: Path, server: RedisServer) -> None:
        self.plan = plan
        self.directory = directory
        self.server = server
        self.url = server.url
        self.random = random.Random(plan.seed)
        self.parents: list[Parent] = []
        self.faults: list[Fault] = []
        self.notes: list[Line] = []
        self.acknowledged: list[int] = []
        """Numbers of tasks that a scenario has pushed by itself."""
        self.unconfirmed: list[int] = []
        self.reach = ACK_TIME
        """Seconds before a kill in which an acknowledgement may have been under way."""
        self.fatal_time = 0.1
        """Seconds from a handler's word that it ends its process to that end."""
        self.client: Any = redis.Redis.from_url(
            server.url, decode_responses=True, retry=Retry(ConstantBackoff(0.05), 200)
        )
        self._producers: list[Producer] = []
        self._proxy: subprocess.Popen[str] | None = None
        self._zombies = 0

    # Who takes part

    def start(self, *options: str) -> Parent:
        """Start a parent, and do not wait for it."""
        plan = self.plan
        numbers = {"procs": plan.procs, "concurrency": plan.concurrency, "stuck-timeout": plan.stuck}
        words = [word for name, value in numbers.items() for word in (f"--{name}", str(value))]
        parent = Parent(self.directory, len(self.parents), self.url, [*words, *options])
        self.parents.append(parent)
        return parent

    def start_all(self) -> None:
        """Start as many parents as are wanted, and wait until all their children are ready."""
        for _ in range(self.plan.parents):
            self.start()
        self.until_ready()

    def until_ready(self) -> None:
        """Wait until every living parent has all its children ready."""
        self.until(
            lambda: all(len(parent.ready()) == self.plan.procs for parent in self.parents if parent.alive),
            "ready children",
        )

    def produce(self, limit: int | None = None, **more: Any) -> Producer:
        """Start a producer; see Producer."""
        plan = self.plan
        producer = Producer(
            self.server.url,
            self.directory / "acknowledged",
            first=sum(one.limit or 10_000_000 for one in self._producers),
            limit=limit,
            rate=plan.rate,
            seconds=(plan.shortest, plan.longest),
            seed=plan.seed,
            **more,
        )
        self._producers.append(producer)
        producer.start()
        return producer

    def put_proxy_between(self) -> None:
        """Have those who start from now on reach Redis through a proxy in a process of its own."""
        socket = self.directory / "proxy.sock"
        command = [sys.executable, "-m", "tests.proxy", str(socket), str(self.server.socket), str(self.plan.seed)]
        self._proxy = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.proxy()
        self.url = f"unix://{socket}"

    def proxy(self, *rules: Rule, **shape: Any) -> dict[str, Any]:
        """Give the proxy a new plan.

        Returns:
            What it has counted.
        """
        return self._tell_proxy(plan_line(rules, **shape))

    def proxy_counts(self) -> dict[str, Any]:
        """Return what the proxy has counted."""
        return self._tell_proxy("")

    def _tell_proxy(self, line: str) -> dict[str, Any]:
        assert self._proxy
        assert self._proxy.stdin
        assert self._proxy.stdout
        self._proxy.stdin.write(line + "\n")
        self._proxy.stdin.flush()
        counts: dict[str, Any] = json.loads(self._proxy.stdout.readline())
        return counts

    # What is done

    def every(self, seconds: float | None = None) -> Iterator[float]:
        """Come back every so often, until the time of the plan is over; yields the seconds that have passed."""
        started = time.monotonic()
        while (passed := time.monotonic() - started) < self.plan.seconds:
            yield passed
            time.sleep(seconds or self.plan.every)

    def kill_a_child(self) -> bool:
        """SIGKILL one ready child; a descriptor of it makes sure that it is the one that was looked at."""
        ready = [record for parent in self.parents if parent.alive for record in parent.ready()]
        if not ready:
            return False
        record = self.random.choice(ready)
        pid, worker = record[Word.PID], record.worker
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            return False
        try:
            if (record[Word.PID], record.worker) != (pid, worker) or record[Word.STATE] != State.READY:
                return False
            before = time.monotonic_ns()
            signal.pidfd_send_signal(handle, signal.SIGKILL)
            self.faults.append(kill(pid, worker, before, time.monotonic_ns())._replace(reach=self.reach))
        except ProcessLookupError:
            return False
        finally:
            os.close(handle)
        return True

    @contextlib.contextmanager
    def stopped(self, *pids: int, kind: str = "stop") -> Iterator[None]:
        """Have processes stand still; their runs may go on afterwards, beside new ones."""
        before = time.monotonic_ns()
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
            self.faults.append(Fault(kind, frozenset(pids), before, time.monotonic_ns(), deadly=False))

    @contextlib.contextmanager
    def redis_loses(self, kind: str, seconds: float) -> Iterator[None]:
        """Redis may forget what it was told so many seconds before this."""
        before = time.monotonic_ns()
        yield
        self.faults.append(Fault(kind, EVERYBODY, before, time.monotonic_ns(), deadly=False, reach=seconds))

    # How it ends

    def until(self, condition: Callable[[], object], what: str) -> float:
        """Wait for something.

        Returns:
            Seconds that it took.

        Raises:
            Missing: it did not come.
        """
        started = time.monotonic()
        while not condition():
            if time.monotonic() - started > self.plan.patience:
                raise Missing(f"{what}: did not come; {self.left()}\n{self.log[-10_000:]}")
            time.sleep(LOOK)
        return time.monotonic() - started

    def finish(self) -> None:
        """Let everything end that was pushed, and everybody leave."""
        for producer in self._producers:
            producer.stop()
        took = self.until(lambda: not self.left(), "the end of all tasks")
        self.notes.append(Line("until nothing was left", f"{took:.1f} s"))
        self._zombies = self._count_zombies()
        for parent in self.parents:
            if parent.alive:
                parent.term()
        for parent in self.parents:
            if parent.code is None and parent.process.returncode is None:
                parent.wait(self.plan.patience)

    def evidence(self) -> Evidence:
        """Collect what is left."""
        ledger = self.directory / "ledger"
        return Evidence(
            tasks=[*self.acknowledged, *(n for producer in self._producers for n in producer.acknowledged)],
            unconfirmed=[*self.unconfirmed, *(n for producer in self._producers for n in producer.unconfirmed)],
            concurrency=self.plan.concurrency,
            runs=read(ledger),
            faults=[*self.faults, *read_fatal(ledger, round(self.fatal_time * 1e9))],
            logs=[parent.log for parent in self.parents],
            exit_codes=[parent.code for parent in self.parents if parent.code is not None],
            left=self.left(),
            dead=[fields for _, fields in self.client.xrange(PREFIX + "dead")],
            zombies=self._zombies + sum(len(parent.processes()) for parent in self.parents),
            notes=self.notes,
        )

    @property
    def log(self) -> str:
        return "".join(parent.log for parent in self.parents)

    def lines_a_second(self) -> int:
        """Return how many lines about Redis one child has logged in one second, at most."""
        found = re.findall(r"^(\S+)\.\d+Z WARNING +(\d+) (?:queue \S+:|waiting for Redis)", self.log, re.MULTILINE)
        return max(Counter(found).values(), default=0)

    def left(self) -> dict[str, int]:
        """Return what lies where in Redis and should not; empty elements are bells, and living children have leases."""
        alive = {record.worker for parent in self.parents if parent.alive for record in parent.ready()}
        client = self.client
        try:
            workers = [name for name in client.zrange(PREFIX + "workers", 0, -1) if not name.startswith("*")]
            records = list(client.scan_iter(PREFIX + "inflight:*", count=1000))
            held = [client.hkeys(key) for key in records]
            places = {
                "queue": sum(element != "" for element in client.lrange(QUEUE, 0, -1)),
                "handoff": sum(element != "" for element in client.lrange(PREFIX + "handoff", 0, -1)),
                "scheduled": client.zcard(PREFIX + "scheduled"),
                "priority": client.zcard(PREFIX + "priority"),
                "deferred": client.zcard(PREFIX + "deferred"),
                "suspects": client.llen(PREFIX + "suspects"),
                "in flight": sum(field[0].isdigit() for fields in held for field in fields),
                "in-flight records of nobody": len({key.partition(":inflight:")[2] for key in records} - alive),
                "leases of nobody": len(set(workers) - alive),
                "oversized": sum(1 for _ in client.scan_iter(PREFIX + "oversized:*", count=1000)),
            }
        except RedisError as error:
            return {str(error): 1}
        return {place: count for place, count in places.items() if count}

    def _count_zombies(self) -> int:
        """Count processes that have ended and that nobody has buried for a second."""

        def ended() -> set[int]:
            sessions = {parent.pid for parent in self.parents if parent.alive}
            return {one.pid for one in system_processes() if one.session in sessions and not one.is_alive}

        before = ended()
        time.sleep(1)
        return len(before & ended())

    def close(self) -> None:
        """End everything at once."""
        for producer in self._producers:
            producer.stop()
        for parent in self.parents:
            parent.close()
        if self._proxy:
            self._proxy.kill()
            self._proxy.communicate()
        self.client.close()


@contextlib.contextmanager
def field(plan: Plan, *options: str, keep: str = "") -> Iterator[Field]:
    """A field, with a Redis of its own.

    Args:
        plan: the numbers.
        options: of redis-server.
        keep: folder to copy the ledger and the logs to.
    """
    with tempfile.TemporaryDirectory(prefix="mw-") as folder:
        directory = Path(folder)
        server = RedisServer(directory, *options)
        server.start()
        made = Field(plan, directory, server)
        try:
            yield made
        finally:
            made.close()
            server.stop()
            if keep:
                ignored = shutil.ignore_patterns("*.sock", "*.board")
                shutil.copytree(directory, keep, ignore=ignored, dirs_exist_ok=True)
