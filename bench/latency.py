"""How long an idle worker takes to start a task, and what it sends Redis while nothing is to be done.

python bench/latency.py [--pushes 300] [--window 10] [--json FILE]. Exit code 1 if a bar is missed.

Single tasks are pushed at random intervals to two idle children. The time goes from just before LPUSH in the producer
to the first line of the handler. Then a MONITOR counts the children's commands, without those inside scripts.
"""

import argparse
import json
import random
import re
import statistics
import struct
import sys
import time
from pathlib import Path

import redis

from bench import lib
from bench.handlers import AGES
from multiworker.worker.scoreboard import Scoreboard
from multiworker.worker.words import State, Word

PROCS = 2
SETTLE = 1.5
"""Seconds after the last task in which the children come to rest."""
SPACING = (0.005, 0.03)
"""Seconds between two pushes, from and to."""
_INSIDE_SCRIPT = re.compile(rb" \[\d+ lua\] ")
_COMMAND = re.compile(rb'^\d+\.\d+ \[\d+ [^\]]*\] "')


def until_ready(directory: Path, parent: int) -> None:
    """Wait until every child takes tasks."""
    path = directory / f"unnamed.{parent}.board"
    deadline = time.monotonic() + lib.PATIENCE
    while time.monotonic() < deadline:
        if path.exists() and _ready(path) == PROCS:
            return
        time.sleep(0.02)
    sys.exit(f"the children did not become ready: {(directory / 'multiworker.log').read_text()}")


def _ready(path: Path) -> int:
    try:
        return sum(record[Word.STATE] == State.READY for record in Scoreboard.open(path).present)
    except ValueError:  # it is being made
        return 0


def latencies(client: redis.Redis, out: Path, pushes: int) -> list[float]:
    """Push single tasks into idle workers.

    Args:
        client: of the server.
        out: where they note the ages of tasks.
        pushes: how many.

    Returns:
        Milliseconds, ascending.
    """
    for _ in range(pushes):
        time.sleep(random.uniform(*SPACING))
        client.lpush(lib.QUEUE, b'{"type":"age","data":%d}' % time.monotonic_ns())
    deadline = time.monotonic() + lib.PATIENCE
    while out.stat().st_size < 8 * pushes:
        if time.monotonic() > deadline:
            sys.exit(f"{out.stat().st_size // 8} of {pushes} tasks ran")
        time.sleep(0.02)
    return sorted(nanoseconds / 1e6 for (nanoseconds,) in struct.iter_unpack("<q", out.read_bytes()))


def floor(client: redis.Redis, directory: Path, pushes: int) -> list[float]:
    """Measure the same with two plain clients that only wait and claim, to know what the machine allows."""
    out = directory / "floor"
    environment = {AGES: str(out), "BENCH_SOCKET": str(lib.socket(directory))}
    with lib.running(
        [sys.executable, str(lib.ROOT / "bench/loads.py"), "wait"], directory / "loads.log", **environment
    ):
        while int(client.info("clients")["blocked_clients"]) < PROCS:
            time.sleep(0.02)
        return latencies(client, out, pushes)


def idle_commands(directory: Path, window: float) -> int:
    """Count what clients send in a while in which nothing is to be done.

    Args:
        directory: of the server.
        window: seconds.

    Returns:
        Commands, without those inside scripts.
    """
    seen = directory / "monitor"
    program = ["redis-cli", "-s", str(lib.socket(directory)), "MONITOR"]
    with lib.running(program, seen) as process:
        while not seen.stat().st_size:  # MONITOR answers OK first
            time.sleep(0.01)
        time.sleep(window)
        process.terminate()
        process.wait()
    lines = [line for line in seen.read_bytes().splitlines() if _COMMAND.match(line)]
    return sum(not _INSIDE_SCRIPT.search(line) for line in lines)


def percentile(ascending: list[float], share: float) -> float:
    """Return the value that this share of the values does not exceed."""
    return ascending[min(len(ascending) - 1, int(len(ascending) * share))]


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--pushes", type=int, default=300, help="single tasks")
    parser.add_argument("--window", type=float, default=10, help="seconds in which idle commands are counted")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    return parser.parse_args()


def main() -> int:
    """Measure both.

    Returns:
        The exit code: 0 if all bars are met.
    """
    asked = options()
    with lib.scratch() as directory, lib.redis_server(directory) as client:
        lowest = floor(client, directory, asked.pushes)
        out = directory / "ages"
        with lib.multiworker(directory, "--procs", str(PROCS), **{AGES: str(out)}) as process:
            until_ready(directory, process.pid)
            times = latencies(client, out, asked.pushes)
            time.sleep(SETTLE)
            commands = idle_commands(directory, asked.window)
    for name, ascending in (("plain clients", lowest), ("multiworker", times)):
        print(f"{name:<14} {len(ascending)} single pushes: p50 {statistics.median(ascending):.3f} ms,", end=" ")
        print(f"p99 {percentile(ascending, 0.99):.3f} ms, longest {ascending[-1]:.3f} ms")
    print(f"{commands} commands of {PROCS} idle children in {asked.window:g} s\n")
    bars = [
        lib.verdict("idle latency, p50", statistics.median(times), 1, " ms", most=True),
        lib.verdict("idle latency, p99", percentile(times, 0.99), 5, " ms", most=True),
        lib.verdict("commands of an idle child", commands / asked.window / PROCS, 3, " a second", most=True),
    ]
    if asked.json:
        asked.json.write_text(
            json.dumps({"ms": times, "floor_ms": lowest, "commands": commands, "bars": bars}, indent=2) + "\n"
        )
    return 0 if all(bar["passed"] for bar in bars) else 1


if __name__ == "__main__":
    sys.exit(main())
