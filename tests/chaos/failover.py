"""Fails primaries over, kills them and moves slots under load, and shows that no task is lost that a replica confirmed.

python tests/chaos/failover.py [--rounds 20] [--only sentinel-kill]

Three sentinels with a primary and a replica, and a cluster of six, run on loopback. A producer pushes all the time with
confirm=1, `multiworker start` works, and faults come one after the other. Handlers note in a file what they ran. Exit
code 1 if a confirmed task did not run, the service did not come back in time, or a child logged too much.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.chaos.storm import OPTIONS, Fault, Outcome, weather
from tests.fix_cluster import Cluster
from tests.fix_topology import Sentinels
from tests.system.fix_system import QUEUE, Engine
from tests.waiting import sync_until

SILENCE = 15.0
"""Seconds in which no task may end, at most: sentinels and clusters need some to choose a new primary."""


def sentinel_faults(made: Sentinels) -> dict[str, Fault]:
    """Return what can happen under sentinels."""

    def wait_for_demotion() -> None:
        sync_until(lambda: made.primary().has_replica())

    return {
        "sentinel-manual": Fault(made.fail_over, wait_for_demotion),
        "sentinel-kill": Fault(made.lose_primary, made.repair),
    }


def cluster_faults(made: Cluster) -> dict[str, Fault]:
    """Return what can happen in a cluster."""

    def lose_another() -> None:
        made.lose_primary(next(name for name in "abcdef" if made.primary_of(name) is not made.primary_of(QUEUE)))

    return {
        "cluster-manual": Fault(lambda: made.fail_over(QUEUE), made.repair),
        "cluster-kill": Fault(lambda: made.lose_primary(QUEUE), made.repair),
        "cluster-move": Fault(lambda: made.end_to_move(QUEUE, *made.begin_to_move(QUEUE))),
        "cluster-other": Fault(lose_another, made.repair),
    }


def suffer(made: Sentinels | Cluster, fault: Fault, rounds: int, calm: int) -> Outcome:
    """Meet one fault again and again."""
    with tempfile.TemporaryDirectory(prefix="mw-chaos-") as path:
        engine = Engine(Path(path), made.url)
        try:
            engine.start(*OPTIONS)
            outcome = weather(engine, [Fault(fault.happen, _both(fault.heal, made.repair))] * rounds, calm)
            if engine.stop() != 0:
                raise RuntimeError(engine.text())
        finally:
            engine.close()
    return outcome


def _both(first: Callable[[], None], second: Callable[[], None]) -> Callable[[], None]:
    def run() -> None:
        first()
        second()

    return run


def is_right(outcome: Outcome) -> bool:
    """Hold an outcome against the bars."""
    return not outcome.lost and max(outcome.outages) <= SILENCE and outcome.chatter <= 1


def run(kind: type[Sentinels] | type[Cluster], only: str, rounds: int, calm: int) -> bool:
    """Start one topology, meet all of its faults, and print what came of them.

    Returns:
        True if everything is right.
    """
    right = True
    with tempfile.TemporaryDirectory(prefix="mw-") as path:
        made = kind(Path(path))
        try:
            made.start()
            faults = sentinel_faults(made) if isinstance(made, Sentinels) else cluster_faults(made)
            for name, fault in faults.items():
                if only in {"", name}:
                    made.repair()
                    outcome = suffer(made, fault, rounds, calm)
                    right = right and is_right(outcome)
                    print(f"{'ok' if is_right(outcome) else 'FAIL':<5} {name:<16} {outcome}", flush=True)
        finally:
            made.stop()
    return right


def main() -> int:
    """Run, and print a line for each kind of fault.

    Returns:
        The exit code: 0 if everything is right.
    """
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=20, help="how often each fault happens [20]")
    parser.add_argument("--calm", type=int, default=100, help="tasks to confirm between two faults [100]")
    parser.add_argument("--only", default="", help="one kind of fault, such as sentinel-kill [all]")
    plan = parser.parse_args()
    started = time.monotonic()
    results = [run(kind, plan.only, plan.rounds, plan.calm) for kind in (Sentinels, Cluster)]
    print(f"took {time.monotonic() - started:.0f} s")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
