"""How many processor instructions one task costs: the guard against slow decay of the hot path.

python bench/instructions.py [--json FILE]. Exit code 1 if a figure is more than 15 % above what is on record here.

Seconds depend on the machine and on what else it does; instructions, counted by valgrind, hardly do: two runs differ by
1 or 2 %. Two ratios are judged, as another version of Python, of a library or of Redis changes both of their sides:
  child / client    a child that runs no-op tasks, and a plain Redis client that claims them (bench/bare.py): Python
  step / move       the Redis server under that client, and under one that only moves list elements: Lua
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from compileall import compile_dir
from dataclasses import asdict
from pathlib import Path

from bench import lib
from bench.figures import Bar

FEW, MANY = 2000, 10_000
"""Tasks of two runs: their difference has no start and no end in it."""
TASK = b'{"type":"noop","data":{"n":1}}'
PATIENCE = 300.0
"""Seconds; valgrind makes everything some twenty times slower."""
SLACK = 1.15
ON_RECORD = {
    (3, 11): {"child / client": 2.45, "step / move": 2.76},
    (3, 13): {"child / client": 2.25, "step / move": 2.75},
}
"""What the ratios were when somebody last looked, by Python; `python bench/instructions.py` shows what they are now."""


def child(directory: Path, tasks: int) -> int:
    """Count in a child that runs no-op tasks until none is left.

    Returns:
        Instructions, those of start and end included.
    """
    with lib.redis_server(directory) as server:
        lib.push(server, TASK, tasks)
        common = ("-m", "multiworker", "start", "--procs", "1", "--burst", "--handler", "bench.peers.multiworker")
        patient = ("--boot-timeout", str(PATIENCE), "--stuck-timeout", str(PATIENCE))
        where = {"REDIS_URL": f"unix://{lib.socket(directory)}", "RUNTIME_DIRECTORY": str(directory)}
        meter = lib.metered(directory / f"meter-{tasks}")
        return max(_counted(directory, [sys.executable, *common, *patient], where | meter))


def client(directory: Path, tasks: int) -> int:
    """Count in a plain client that claims and acknowledges until nothing is left.

    Returns:
        Instructions, those of start and end included.
    """
    with lib.redis_server(directory) as server:
        lib.push(server, TASK, tasks)
        return max(_counted(directory, _driver(), _surroundings(directory, tasks)))


def step(directory: Path, tasks: int) -> int:
    """Count in the Redis server that the plain client drives.

    Returns:
        Instructions, those of start and end included.
    """
    return _serve(directory, tasks, _driver())


def move(directory: Path, tasks: int) -> int:
    """Count in a Redis server that moves the tasks to another list, one by one.

    Returns:
        Instructions, those of start and end included.
    """
    return _serve(directory, tasks, [sys.executable, "-c", "from bench import bare; bare.move()"])


def _serve(directory: Path, tasks: int, program: Sequence[str]) -> int:
    figures = directory / "figures"
    with lib.redis_server(directory, _valgrind(figures)) as server:
        lib.push(server, TASK, tasks)
        environment = os.environ | _surroundings(directory, tasks)
        subprocess.run(program, cwd=lib.ROOT, env=environment, check=True, timeout=PATIENCE)
    return max(_collect(figures))


def _driver() -> list[str]:
    return [sys.executable, "-c", "from bench import bare; bare.claim_all(0, 20)"]


def _surroundings(directory: Path, tasks: int) -> dict[str, str]:
    return lib.metered(directory / f"meter-{tasks}") | {"BENCH_REDIS": f"unix://{lib.socket(directory)}"}


def _counted(directory: Path, command: Sequence[str], environment: dict[str, str]) -> list[int]:
    """Run a command to its end; return the instructions of each of its processes."""
    figures = directory / "figures"
    alike = environment | {"PYTHONDONTWRITEBYTECODE": "1"}  # what one run compiles, the other one would not
    with lib.running([*_valgrind(figures), *command], directory / "counted.log", alike) as process:
        if process.wait(PATIENCE):
            raise RuntimeError(f"exit code {process.returncode}: {(directory / 'counted.log').read_text()}")
    return _collect(figures)


def _valgrind(figures: Path) -> list[str]:
    figures.mkdir(exist_ok=True)
    quiet = ("--quiet", "--tool=cachegrind", "--cache-sim=no", f"--cachegrind-out-file={figures}/%p")
    return [shutil.which("valgrind") or sys.exit("valgrind is not on PATH: install it"), *quiet]


def _collect(figures: Path) -> list[int]:
    totals = [int(path.read_text().rpartition("summary: ")[2]) for path in figures.iterdir()]
    shutil.rmtree(figures)
    return totals


def measure() -> dict[str, float]:
    """Count everything.

    Returns:
        Instructions a task.
    """
    for package in ("bench", "multiworker", "supervisor", "worker"):  # else another program may do it between two runs
        compile_dir(lib.ROOT / package, quiet=1)
    with lib.scratch() as directory:
        return {
            contender.__name__: (contender(directory, MANY) - contender(directory, FEW)) / (MANY - FEW)
            for contender in (child, client, step, move)
        }


def judge(figures: dict[str, float], version: tuple[int, int]) -> list[Bar]:
    """Hold the ratios against what is on record.

    Args:
        figures: from measure().
        version: of Python; of one that is not on record, the newest that is counts.
    """
    record = ON_RECORD.get(version) or ON_RECORD[max(ON_RECORD)]
    return [
        Bar(f"instructions, {name}", figures[one] / figures[other], round(SLACK * before, 3), most=True)
        for name, before in record.items()
        for one, _, other in [name.split()]
    ]


def main() -> int:
    """Print the figures beside what is on record.

    Returns:
        The exit code: 0 if none has grown by more than SLACK.
    """
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    asked = parser.parse_args()
    figures = measure()
    for name, count in figures.items():
        print(f"{name:<8} {count:>9,.0f} instructions a task")
    bars = judge(figures, sys.version_info[:2])
    print("\n".join(str(bar) for bar in bars))
    if asked.json:
        asked.json.write_text(json.dumps({"figures": figures, "bars": [asdict(bar) for bar in bars]}, indent=2) + "\n")
    return 0 if all(bar.passed for bar in bars) else 1


if __name__ == "__main__":
    sys.exit(main())
