"""What the benchmarks share: a private Redis, processes that are ended whatever happens, and figures."""

import contextlib
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import redis

from bench.meter import VARIABLE

ROOT = Path(__file__).resolve().parent.parent
QUEUE = "async_tasks"
PATIENCE = 20.0
"""Seconds that a process gets to start, or to end."""
CHUNK = 1000


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """Give a directory in memory, so that no disk is part of a figure; it is gone afterwards."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="bench-", dir=memory if memory.is_dir() else None) as directory:
        yield Path(directory)


@contextlib.contextmanager
def running(arguments: Sequence[str], log: Path, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command in a process group of its own, which is ended as a whole on the way out.

    Args:
        arguments: the command.
        log: where its output goes.
        environment: more of it.
    """
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    with log.open("ab") as out:
        process = subprocess.Popen(
            arguments,
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": path} | environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Let it end in order; then make sure of the rest of its group."""
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(PATIENCE)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


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
        redis.Redis(unix_socket_path=str(socket(directory))) as client,
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


@contextlib.contextmanager
def multiworker(directory: Path, *options: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run `multiworker start` with the handlers of the benchmarks.

    Args:
        directory: the Redis server's; the scoreboard is put there, too.
        options: more of the command's.
        environment: more of it.
    """
    program = Path(sys.executable).with_name("multiworker")
    common = ("start", "--handler", "bench.handlers", "--log-level", "warning")
    where = {"REDIS_URL": f"unix://{socket(directory)}", "RUNTIME_DIRECTORY": str(directory)}
    with running([str(program), *common, *options], directory / "multiworker.log", **where, **environment) as process:
        yield process


def metered(path: Path) -> dict[str, str]:
    """Return the environment in which handlers count in that meter."""
    return {VARIABLE: str(path)}


def push(client: redis.Redis, payload: bytes, count: int) -> None:
    """Push one payload so many times, as any producer does."""
    for start in range(0, count, CHUNK):
        client.lpush(QUEUE, *[payload] * min(CHUNK, count - start))


def spread(figures: Sequence[float], unit: str = "") -> str:
    """Say the median of some figures, and from where to where they go."""
    middle = f"{statistics.median(figures):,.0f}{unit}"
    return middle if len(figures) == 1 else f"{middle}  ({min(figures):,.0f} to {max(figures):,.0f})"


def verdict(name: str, value: float, bar: float, unit: str, *, most: bool = False) -> dict[str, Any]:
    """Print a figure beside its bar.

    Args:
        name: of the figure.
        value: what was measured.
        bar: what is asked for.
        unit: of both.
        most: the bar is an upper one.

    Returns:
        The same, for a report in JSON.
    """
    passed = value <= bar if most else value >= bar
    side = "at most" if most else "at least"
    print(f"{'ok  ' if passed else 'MISS'}  {name}: {value:.2f}{unit}, bar {side} {bar:g}{unit}")
    return {"name": name, "value": value, "bar": bar, "most": most, "unit": unit, "passed": passed}
