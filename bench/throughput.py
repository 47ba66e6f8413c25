"""Throughput beside the bare protocol, the loop's own timer and another task queue, all in one run.

make bench, or: python bench/throughput.py [--tasks 100000] [--rounds 3] [--json FILE]. Exit code 1 if a bar is missed.

The contenders take turns, so that all of them meet the same machine. They are measured by one meter (meter.py), from
5 % to 95 % of the tasks, which were pushed before the start; 2 processes x 20 tasks at once each.
  bare        two redis-py clients drive the step script with nothing around it, 20 tasks a call
  noop        multiworker, a handler that does nothing
  dramatiq    Dramatiq with 20 threads a process, an actor that does nothing
  ideal       two event loops, 20 coroutines each that sleep 10 ms again and again, and no queue
  sleep       multiworker, a handler that sleeps 10 ms
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path

import redis

from bench import lib, loads
from bench.meter import Meter, rate

PEERS = Path(__file__).with_name(".venv-peers")
PATIENCE = 300.0
"""Seconds after which a contender counts as stuck."""
TASK = b'{"type":"noop","data":{"n":1}}'
NAP = b'{"type":"sleep","data":%g}'
OURS = ("--procs", str(loads.PROCS), "--concurrency", str(loads.PERMITS), "--burst")


class Bench:
    """The contenders.

    Args:
        directory: of the Redis server.
        client: of it.
        sizes: how many tasks each contender gets.
    """

    def __init__(self, directory: Path, client: redis.Redis, sizes: dict[str, int]) -> None:
        self._directory = directory
        self._client = client
        self._sizes = sizes
        self._runs = 0

    def measure(self, name: str) -> float:
        """Run one contender once, on an empty server.

        Returns:
            Tasks a second.
        """
        self._client.flushall()
        self._runs += 1
        meter = Meter(self._directory / f"meter-{self._runs}")
        contender: Callable[[Meter, int], float] = getattr(self, f"_{name}")
        return contender(meter, self._sizes[name])

    def _bare(self, meter: Meter, tasks: int) -> float:
        lib.push(self._client, TASK, tasks)
        return self._loops(meter, tasks, "bare")

    def _ideal(self, meter: Meter, tasks: int) -> float:
        return self._loops(meter, tasks, "ideal", str(tasks))

    def _noop(self, meter: Meter, tasks: int) -> float:
        lib.push(self._client, TASK, tasks)
        return self._multiworker(meter, tasks)

    def _sleep(self, meter: Meter, tasks: int) -> float:
        lib.push(self._client, NAP % loads.NAP, tasks)
        return self._multiworker(meter, tasks)

    def _dramatiq(self, meter: Meter, tasks: int) -> float:
        log = self._directory / "dramatiq.log"
        environment = lib.metered(meter.path) | {"BENCH_REDIS": f"unix://{lib.socket(self._directory)}"}
        program = [str(PEERS / "bin/python"), str(lib.ROOT / "bench/peer_dramatiq.py"), str(tasks)]
        with lib.running(program, log, **environment) as pushing:
            if pushing.wait(PATIENCE) != 0:
                raise RuntimeError(f"Dramatiq's messages could not be pushed: {log.read_text()}")
        threads = ("--processes", str(loads.PROCS), "--threads", str(loads.PERMITS))
        program = [str(PEERS / "bin/dramatiq"), "bench.peer_dramatiq", "--path", str(lib.ROOT), *threads]
        with lib.running(program, log, **environment) as process:
            return rate(meter, tasks, lambda: process.poll() is None, PATIENCE)

    def _loops(self, meter: Meter, tasks: int, *load: str) -> float:
        program = [sys.executable, str(lib.ROOT / "bench/loads.py"), *load]
        environment = lib.metered(meter.path) | {"BENCH_SOCKET": str(lib.socket(self._directory))}
        with lib.running(program, self._directory / "loads.log", **environment) as process:
            return rate(meter, tasks, lambda: process.poll() is None, PATIENCE)

    def _multiworker(self, meter: Meter, tasks: int) -> float:
        with lib.multiworker(self._directory, *OURS, **lib.metered(meter.path)) as process:
            figure = rate(meter, tasks, lambda: process.poll() is None, PATIENCE)
            code = process.wait(PATIENCE)
        if code or meter.total() != tasks:
            log = (self._directory / "multiworker.log").read_text()
            raise RuntimeError(f"multiworker did {meter.total()} of {tasks} tasks, exit code {code}\n{log}")
        return figure


def make_peers() -> None:
    """Make the other queues' environment, if it is not there as requirements.txt has it."""
    asked = Path(__file__).with_name("requirements.txt")
    made = PEERS / "requirements.txt"
    if made.exists() and made.read_bytes() == asked.read_bytes():
        return
    print(f"installing the other task queues into {PEERS}", flush=True)
    venv.create(PEERS, with_pip=True, clear=True)
    pip = [str(PEERS / "bin/pip"), "install", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run([*pip, "--requirement", str(asked)], check=False, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"pip could not install the other task queues (--no-peers leaves them out): {done.stderr}")
    (PEERS / ".gitignore").write_text("*\n")
    made.write_bytes(asked.read_bytes())


def judge(figures: dict[str, list[float]]) -> list[dict[str, object]]:
    """Print what the figures are in relation to each other, round by round and then the median, beside the bars."""

    def ratio(one: str, other: str) -> float:
        return statistics.median(mine / theirs for mine, theirs in zip(figures[one], figures[other], strict=True))

    bars = [lib.verdict("noop / bare", 100 * ratio("noop", "bare"), 55, " %")]
    if "dramatiq" in figures:
        bars.append(lib.verdict("noop / dramatiq", ratio("noop", "dramatiq"), 6, " x"))
    return [*bars, lib.verdict("sleep / ideal", 100 * ratio("sleep", "ideal"), 90, " %")]


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--tasks", type=int, default=100_000, help="no-op tasks of multiworker and the bare script")
    parser.add_argument("--peer-tasks", type=int, default=20_000, help="no-op tasks of Dramatiq")
    parser.add_argument("--sleep-tasks", type=int, default=20_000, help="tasks that sleep")
    parser.add_argument("--rounds", type=int, default=3, help="how often each contender runs")
    parser.add_argument("--no-peers", action="store_true", help="leave Dramatiq out")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    return parser.parse_args()


def main() -> int:
    """Run all contenders in turn.

    Returns:
        The exit code: 0 if all bars are met.
    """
    asked = options()
    sizes = {"bare": asked.tasks, "noop": asked.tasks, "dramatiq": asked.peer_tasks}
    sizes |= {"ideal": asked.sleep_tasks, "sleep": asked.sleep_tasks}
    if asked.no_peers:
        del sizes["dramatiq"]
    else:
        make_peers()
    figures: dict[str, list[float]] = {name: [] for name in sizes}
    with lib.scratch() as directory, lib.redis_server(directory) as client:
        bench = Bench(directory, client, sizes)
        for number in range(1, asked.rounds + 1):
            for name, measured in figures.items():
                measured.append(bench.measure(name))
                print(f"round {number}  {name:<9} {measured[-1]:>9,.0f} tasks/s", flush=True)
    print()
    for name, measured in figures.items():
        print(f"{name:<9} {sizes[name]:>9,} tasks  {lib.spread(measured, ' tasks/s')}")
    print()
    bars = judge(figures)
    if asked.json:
        machine = {"cores": os.cpu_count(), "load": os.getloadavg()}
        asked.json.write_text(json.dumps({"machine": machine, "figures": figures, "bars": bars}, indent=2) + "\n")
    return 0 if all(bar["passed"] for bar in bars) else 1


if __name__ == "__main__":
    sys.exit(main())
