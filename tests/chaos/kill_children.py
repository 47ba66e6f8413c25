"""Kills children while they work through a full queue, and shows that no task is lost or runs twice without cause.

python tests/chaos/kill_children.py [--tasks 20000] [--procs 4] [--concurrency 20] [--kill-every 0.3] [--sleep 0.02]

A private Redis gets the tasks by plain LPUSH from redis-cli. `multiworker start --burst` works through them while one
ready child after the other is killed. Handlers note starts and ends in a file; report.py holds it against the parent's
log and what is left in Redis. Exit code 1 if anything does not add up.
"""

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import redis

from multiworker.worker.scoreboard import Record, Scoreboard
from multiworker.worker.words import State, Word
from tests.chaos.ledger import LEDGER, Kill, read
from tests.chaos.report import Evidence, Line, judge
from tests.fix_redis import RedisServer

ROOT = Path(__file__).resolve().parents[2]
QUEUE = "async_tasks"
PREFIX = "{async_tasks}:"
VALUES = 100
"""Tasks in one LPUSH."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to do, in numbers; times in seconds."""

    tasks: int = 20_000
    procs: int = 4
    concurrency: int = 20
    kill_every: float = 0.3
    sleep: float = 0.02
    min_ready: int = 1
    """Kill only while so many children are ready."""
    seed: int = 0
    recovery: float = 1.0
    """Bar: from a kill to the new start of its tasks, p99."""
    silence: float = 1.0
    """Bar: how long a living child may begin nothing."""
    patience: float = 300.0
    """When the parent counts as stuck."""
    keep: str = ""
    """Folder to copy the ledger and the log to."""


class Battle:
    """One run.

    Args:
        plan: what to do.
        directory: for everything that is written.
        server: Redis.
    """

    def __init__(self, plan: Plan, directory: Path, server: RedisServer) -> None:
        self._plan = plan
        self._directory = directory
        self._server = server
        self._random = random.Random(plan.seed)
        self._log = directory / "log"

    def fight(self) -> Evidence:
        """Push, start, kill until the parent ends, and collect what is left."""
        self._push()
        with self._parent() as parent:
            kills = self._kill_until_end(parent)
            code = parent.wait()
        with redis.Redis.from_url(self._server.url, decode_responses=True) as client:
            left, dead = _left(client), [fields for _, fields in client.xrange(PREFIX + "dead")]
        runs = read(self._directory / "ledger")
        return Evidence(self._plan.tasks, self._plan.concurrency, runs, kills, self._log.read_text(), code, left, dead)

    def _push(self) -> None:
        """Push the tasks as anybody would, with redis-cli."""
        said = {"seconds": self._plan.sleep}
        tasks = [json.dumps({"type": "chaos", "data": said | {"n": n}}) for n in range(self._plan.tasks)]
        chunks = [tasks[start : start + VALUES] for start in range(0, len(tasks), VALUES)]
        pushes = b"".join(_resp("LPUSH", QUEUE, *chunk) for chunk in chunks)
        command = ["redis-cli", "-s", str(self._server.socket), "--pipe"]
        done = subprocess.run(command, input=pushes, capture_output=True, check=True)
        if f"errors: 0, replies: {len(chunks)}".encode() not in done.stdout:
            raise RuntimeError(f"redis-cli: {done.stdout!r}")

    @contextlib.contextmanager
    def _parent(self) -> Iterator[subprocess.Popen[bytes]]:
        """Start `multiworker`, and end the whole of it on the way out, whatever has happened."""
        command = [str(Path(sys.executable).with_name("multiworker")), "start", "--handler", "tests.chaos.noting"]
        numbers = ("--procs", str(self._plan.procs), "--concurrency", str(self._plan.concurrency))
        with self._log.open("ab") as log:
            parent = subprocess.Popen(
                [*command, *numbers, "--burst"],
                cwd=ROOT,
                env=os.environ
                | {
                    LEDGER: str(self._directory / "ledger"),
                    "REDIS_URL": self._server.url,
                    "RUNTIME_DIRECTORY": str(self._directory),
                },
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            yield parent
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(parent.pid, signal.SIGKILL)
            parent.wait()

    def _kill_until_end(self, parent: subprocess.Popen[bytes]) -> list[Kill]:
        kills: list[Kill] = []
        board: Scoreboard | None = None
        deadline = time.monotonic() + self._plan.patience
        while parent.poll() is None:
            if time.monotonic() > deadline:
                raise RuntimeError(f"it does not end; its log:\n{self._log.read_text()[-10_000:]}")
            time.sleep(self._plan.kill_every)
            board = board or self._board(parent.pid)
            ready = [record for record in board.present if record[Word.STATE] == State.READY] if board else []
            if len(ready) >= max(1, self._plan.min_ready) and (kill := _kill(self._random.choice(ready), parent.pid)):
                kills.append(kill)
        return kills

    def _board(self, pid: int) -> Scoreboard | None:
        try:
            return Scoreboard.open(self._directory / f"unnamed.{pid}.board")
        except (FileNotFoundError, ValueError):  # it is still being made
            return None


def _kill(record: Record, parent: int) -> Kill | None:
    """Kill one child; a descriptor of it makes sure that it is the one that was looked at.

    Returns:
        The kill, or None if the child had already gone.
    """
    pid, worker = record[Word.PID], record.worker
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    try:
        if _parent_of(pid) != parent or (record[Word.PID], record.worker) != (pid, worker):
            return None
        before = time.monotonic_ns()
        signal.pidfd_send_signal(handle, signal.SIGKILL)
        return Kill(pid, worker, before, time.monotonic_ns())
    except (ProcessLookupError, FileNotFoundError):
        return None
    finally:
        os.close(handle)


def _parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def _resp(*words: str) -> bytes:
    """Write a command as it goes over the wire, which is what redis-cli --pipe takes."""
    raw = [word.encode() for word in words]
    return b"*%d\r\n" % len(raw) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in raw)


def _left(client: redis.Redis) -> dict[str, int]:
    """Return what lies where in Redis and should not; empty elements are bells."""
    places = {
        "queue": sum(element != "" for element in client.lrange(QUEUE, 0, -1)),
        "handoff": sum(element != "" for element in client.lrange(PREFIX + "handoff", 0, -1)),
        "scheduled": client.zcard(PREFIX + "scheduled"),
        "priority": client.zcard(PREFIX + "priority"),
        "suspects": client.llen(PREFIX + "suspects"),
        "in-flight records": sum(1 for _ in client.scan_iter(PREFIX + "inflight:*")),
        "leases": sum(not str(name).startswith("*") for name in client.zrange(PREFIX + "workers", 0, -1)),
    }
    return {place: count for place, count in places.items() if count}


def run(plan: Plan) -> list[Line]:
    """Carry out a plan.

    Returns:
        The report, a line with ``right`` False for everything that may not be.
    """
    with tempfile.TemporaryDirectory(prefix="mw-chaos-") as path:
        server = RedisServer(Path(path))
        try:
            server.start()
            seen = Battle(plan, Path(path), server).fight()
        finally:
            server.stop()
            if plan.keep:
                shutil.copytree(path, plan.keep, dirs_exist_ok=True)
    return judge(seen, plan.recovery, plan.silence)


def options() -> Plan:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    for name, default in vars(Plan()).items():
        parser.add_argument("--" + name.replace("_", "-"), type=type(default), default=default, help=f"[{default}]")
    return Plan(**vars(parser.parse_args()))


def main() -> int:
    """Run and print the report.

    Returns:
        The exit code: 0 if everything is right.
    """
    plan = options()
    print(
        ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in vars(plan).items() if value != ""), flush=True
    )
    started = time.monotonic()
    lines = run(plan)
    print(f"took {time.monotonic() - started:.1f} s, start and all\n")
    marks = {True: "ok", False: "FAIL", None: ""}
    for name, value, right in lines:
        print(f"{marks[right]:<5} {name:<38} {value}")
    return 0 if all(line.right is not False for line in lines) else 1


if __name__ == "__main__":
    sys.exit(main())
