"""multiworker beside other task queues, and beside what Redis and the event loop allow: one run, one machine.

make bench, or: python -m bench.run [--quick] [--loads nap,idle] [--contenders Celery,arq] [--rounds 3] [--out PREFIX]

README.md in this folder says how each figure is measured. The exit code is 1 if a bar is missed, or multiworker failed.
"""

import argparse
import importlib.util
import json
import os
import platform
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import environments, lib, loads, ours, report
from bench.bars import judge
from bench.contenders import CONTENDERS, US, Contender
from bench.figures import Run
from bench.limits import LIMITS
from bench.loads import QUICK, Figures, Load, Sizes
from bench.stand import Stand

COMMON: dict[str, Load] = {
    "noop": loads.noop,
    "wide": loads.wide,
    "nap": loads.nap,
    "burn": loads.burn,
    "blob": loads.blob,
    "enqueue": loads.enqueue,
    "idle": loads.idle,
    "latency": loads.latency,
    "kill": loads.kill,
}
OWN: dict[str, Load] = {
    "scaling": ours.scaling,
    "preload": ours.preload,
    "flood": ours.flood,
    "backlog": ours.backlog,
}
ONCE = ("backlog",)
"""Loads of the first round only."""
TURNS = {"latency": 3}
"""How often all take turns in one round, if not once: a machine differs more from second to second than they do."""


@dataclass(frozen=True)
class Step:
    """One measurement.

    Args:
        round: from 1.
        load: which one.
        who: a contender, or a limit.
    """

    round: int
    load: str
    who: str


def plan(chosen: list[str], names: list[str], rounds: int) -> list[Step]:
    """Lay down what is measured in which order: all take turns in each load, and each round begins with another one.

    Args:
        chosen: the loads.
        names: the contenders.
        rounds: how often.
    """
    steps = []
    for number in range(1, rounds + 1):
        for load in chosen:
            if load in COMMON:
                turns = [*names, *LIMITS.get(load, {})]
            else:
                turns = [US] if US in names and (number == 1 or load not in ONCE) else []
            for turn in range(TURNS.get(load, 1)):
                first = (number - 1 + turn) % len(turns) if turns else 0
                steps += [Step(number, load, who) for who in turns[first:] + turns[:first]]
    return steps


def work_of(step: Step) -> Callable[[Stand, Sizes], Figures]:
    """Return what measures a step."""
    if limit := LIMITS.get(step.load, {}).get(step.who):
        return limit
    load = (COMMON | OWN)[step.load]
    contender = _named(step.who)
    return lambda stand, sizes: load(stand, contender, sizes)


def _named(name: str) -> Contender:
    return next(contender for contender in CONTENDERS if contender.name == name)


def installed(contenders: list[Contender], run: Run) -> list[Contender]:
    """Make the environments, and return whom that has made able to take part; it is noted of the others."""
    able = []
    for contender in contenders:
        try:
            environments.make(contender.environment)
        except RuntimeError as error:
            _fail(run, contender.name, "install", error)
        else:
            able.append(contender)
    return able


def _fail(run: Run, who: str, load: str, error: Exception) -> None:
    run.failures.append({"who": who, "load": load, "error": str(error)})
    print(f"{who}, {load}: {error}", flush=True)


def carry_out(steps: list[Step], stand: Stand, sizes: Sizes, run: Run) -> None:
    """Take all measurements; one that fails is noted, and the others go on."""
    for step in steps:
        if step.load == "kill" and not run.finite("restart", step.who):
            continue  # it was waited for once
        begun = time.monotonic()
        try:
            found = work_of(step)(stand, sizes)
        except (RuntimeError, OSError) as error:
            _fail(run, step.who, step.load, error)
            continue
        run.add(step.who, found)
        said = "  ".join(f"{key} {value:,.2f}" for key, value in found.items())
        took = time.monotonic() - begun
        print(f"round {step.round}  {step.load:<8} {step.who:<18.18} {took:>5.1f} s  {said}", flush=True)


def machine(stand: Stand) -> dict[str, Any]:
    """Say what it runs on."""
    server = lib.section(stand.client, "server")
    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "cores": len(os.sched_getaffinity(0)),
        "load at start": round(os.getloadavg()[0], 2),
        "Python": platform.python_version(),
        "Redis": str(server["redis_version"]),
        "kernel": platform.release(),
    }


def _several(known: dict[str, Any]) -> Callable[[str], list[str]]:
    def parse(text: str) -> list[str]:
        asked = text.split(",")
        if wrong := [name for name in asked if name not in known]:
            raise argparse.ArgumentTypeError(f"{', '.join(wrong)}: choose from {', '.join(known)}")
        return [name for name in known if name in asked]

    return parse


def options(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    names = {contender.name: contender for contender in CONTENDERS}
    parser.add_argument("--loads", type=_several(COMMON | OWN), default=[*COMMON, *OWN], help="comma-separated")
    parser.add_argument("--contenders", type=_several(names), default=[*names], help="comma-separated")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured")
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that everything works")
    parser.add_argument("--out", type=Path, default=Path("bench/results"), help="PREFIX of .json, .md and .svg")
    return parser.parse_args(arguments)


def main() -> int:
    """Measure, report and judge.

    Returns:
        The exit code: 0 if all bars are met.
    """
    asked = options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that whatever runs is ended
    run = Run()
    chosen = installed([contender for contender in CONTENDERS if contender.name in asked.contenders], run)
    versions = {one.name: environments.version(one.environment, one.package) for one in chosen}
    with lib.scratch() as directory, lib.redis_server(directory) as client:
        stand = Stand(directory, client)
        where = machine(stand)
        carry_out(plan(asked.loads, [*versions], asked.rounds), stand, QUICK if asked.quick else Sizes(), run)
    bars = judge(run)
    text = report.markdown(run, bars, versions, where)
    print(f"\n{text}")
    asked.out.with_suffix(".md").write_text(text)
    asked.out.with_suffix(".json").write_text(json.dumps(report.document(run, bars, versions, where), indent=1) + "\n")
    _chart(run, asked.out.with_suffix(".svg"))
    failed = any(one["who"] == US for one in run.failures)
    return 0 if not failed and all(bar.passed for bar in bars) else 1


def _chart(run: Run, path: Path) -> None:
    if importlib.util.find_spec("matplotlib") is None:
        print("no chart: matplotlib is missing (pip install -e '.[bench]')", flush=True)
        return
    importlib.import_module("bench.chart").draw(run, path)


if __name__ == "__main__":
    sys.exit(main())
