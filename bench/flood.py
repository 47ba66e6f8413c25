"""A flood of elements that are no tasks beside as many tasks that do nothing, in one run.

python bench/flood.py [--tasks 50000] [--rounds 3]. Exit code 1 if the flood is more than four times slower.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path

import redis

from bench import lib
from bench.meter import Meter

OPTIONS = ("--procs", "2", "--concurrency", "20", "--burst")
BAR = 25.0
"""Per cent; a dead letter costs a stream entry, a second message and a log line, and a no-op task next to nothing."""
KINDS = {"tasks": b'{"type":"noop","data":{"n":1}}', "flood": b"{}"}


def measure(directory: Path, client: redis.Redis, payload: bytes, tasks: int) -> float:
    """Have so many elements taken, start and end included.

    Returns:
        Elements a second.
    """
    client.flushall()
    lib.push(client, payload, tasks)
    meter = Meter(directory / f"meter-{time.monotonic_ns()}")
    started = time.monotonic()
    with lib.multiworker(directory, *OPTIONS, **lib.metered(meter.path)) as process:
        code = process.wait(600)
    spent = time.monotonic() - started
    dead = int(client.xlen("{" + lib.QUEUE + "}:dead"))
    if code or meter.total() + dead != tasks:
        raise RuntimeError(f"exit code {code}, {meter.total()} done, {dead} dead of {tasks}")
    return tasks / spent


def main() -> int:
    """Measure both in turn.

    Returns:
        The exit code: 0 if the bar is met.
    """
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--tasks", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    figures: dict[str, list[float]] = {kind: [] for kind in KINDS}
    with lib.scratch() as directory, lib.redis_server(directory) as client:
        for number in range(1, asked.rounds + 1):
            for kind, payload in KINDS.items():
                figures[kind].append(measure(directory, client, payload, asked.tasks))
                print(f"round {number}  {kind:<6} {figures[kind][-1]:>9,.0f} elements/s", flush=True)
    ratio = statistics.median(flood / tasks for flood, tasks in zip(figures["flood"], figures["tasks"], strict=True))
    return 0 if lib.verdict("flood / tasks", 100 * ratio, BAR, " %")["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())
