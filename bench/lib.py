"""What the benchmarks share: a private Redis, and processes that are ended whatever happens."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import redis

from bench.meter import VARIABLE

ROOT = Path(__file__).resolve().parent.parent
QUEUE = "async_tasks"
PATIENCE = 20.0
"""Seconds that a process gets to start."""
_CHUNK = 1000
GRACE = 8.0
"""Seconds that a process gets to end."""


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """Give a directory in memory, so that no disk is part of a figure; it is gone afterwards."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="bench-", dir=memory if memory.is_dir() else None) as directory:
        yield Path(directory)


def environment_of_starts() -> dict[str, str]:
    """Return this process' environment, but for what keeps Python from storing byte code: no start compiles anew."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


@contextlib.contextmanager
def running(
    arguments: Sequence[str], log: Path, environment: Mapping[str, str] | None = None, *, grace: float = GRACE
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command in a session of its own, which is ended as a whole on the way out.

    Args:
        arguments: the command.
        log: where its output goes.
        environment: more of it.
        grace: seconds that it gets to end in order.
    """
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    with log.open("ab") as out:
        process = subprocess.Popen(
            arguments,
            cwd=ROOT,
            env=environment_of_starts() | {"PYTHONPATH": path, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        _end(process, grace)


def _end(process: subprocess.Popen[bytes], grace: float) -> None:
    """Let it end in order; then make sure of the rest of its session."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(grace)
    while rest := session(process.pid):
        for pid in rest:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.poll()
        time.sleep(0.01)
    process.wait()


def session(leader: int) -> list[int]:
    """Return the live processes of a session: all that its leader has started, in whatever process group."""
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit() and _is_of(entry, leader)]


def _is_of(entry: Path, leader: int) -> bool:
    try:
        state, _, _, found = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
    except OSError:
        return False
    return int(found) == leader and state not in {"Z", "X"}


def memory(pids: Sequence[int], kind: str = "Pss") -> float:
    """Return the proportional set size of processes, in MiB: what is shared counts in parts.

    Args:
        pids: which ones.
        kind: another line of /proc/PID/smaps_rollup, as Rss.
    """
    return sum(_memory(pid, kind) for pid in pids) / 1024


def _memory(pid: int, kind: str) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:  # it has just ended
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(f"{kind}:")), 0)


@contextlib.contextmanager
def redis_server(directory: Path, before: Sequence[str] = ()) -> Iterator[redis.Redis]:
    """Run a redis-server on a unix socket, without persistence.

    Args:
        directory: for its socket and log.
        before: a command that runs it, such as valgrind.

    Returns:
        A client of it.
    """
    binary = shutil.which("redis-server") or shutil.which("valkey-server")
    if not binary:
        sys.exit("neither redis-server nor valkey-server is on PATH: install one of them")
    fixed = ("--port", "0", "--unixsocket", str(socket(directory)), "--dir", str(directory))
    with (
        running([*before, binary, *fixed, "--save", "", "--appendonly", "no"], directory / "redis.log"),
        redis.Redis(unix_socket_path=str(socket(directory)), socket_timeout=60) as client,
    ):
        deadline = time.monotonic() + PATIENCE
        while not _answers(client) and time.monotonic() < deadline:
            time.sleep(0.01)
        yield client


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


def socket(directory: Path) -> Path:
    """Return where the server in that directory listens."""
    return directory / "redis.sock"


def push(client: redis.Redis, payload: bytes, count: int) -> None:
    """Push one payload so many times, as any producer does."""
    for start in range(0, count, _CHUNK):
        client.lpush(QUEUE, *[payload] * min(_CHUNK, count - start))


def metered(path: Path) -> dict[str, str]:
    """Return the environment in which handlers count in that meter."""
    return {VARIABLE: str(path)}


def section(client: redis.Redis, name: str) -> dict[str, Any]:
    """Return a section of Redis' INFO."""
    return dict(client.info(name))
