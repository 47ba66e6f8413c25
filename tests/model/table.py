"""Checks the protocol's model in wide bounds, and prints what was looked at.

python tests/model/table.py [--quick]

Exit code 1 if a property was broken; the shortest way to it is printed.
"""

import argparse
import multiprocessing
import os
import sys

from tests.model.bounds import FLAWED, QUICK, WIDE
from tests.model.checker import Verdict, check

WIDTH = 86


def main() -> int:
    parser = argparse.ArgumentParser(description="checks the protocol's model in wide bounds")
    parser.add_argument("--quick", action="store_true", help="only the bounds of every test run")
    worlds = QUICK if parser.parse_args().quick else WIDE
    total, sound = 0, True
    print(f"{'bounds':{WIDTH}} {'states':>9} {'seconds':>8}  verdict")
    # A process for each world, so that what one remembers is forgotten before the next.
    with multiprocessing.Pool(os.cpu_count(), maxtasksperchild=1) as pool:
        for world, verdict in zip(worlds, pool.imap(check, worlds, chunksize=1), strict=True):
            _print(str(world), verdict)
            total += verdict.states
            sound = sound and not verdict.violations
    print(f"{len(worlds)} worlds, {total} states: {'every property holds' if sound else 'NOT SOUND'}\n")
    for flaw, (world, breaks) in FLAWED.items():
        verdict = check(world.with_flaw(flaw), breaks)
        _print(f"flaw: {flaw.value}", verdict)
        sound = sound and bool(verdict.violations)
    return 0 if sound else 1


def _print(name: str, verdict: Verdict) -> None:
    found = "; ".join(violation.what for violation in verdict.violations) or "holds"
    print(f"{name:{WIDTH}} {verdict.states:9} {verdict.seconds:8.1f}  {found}", flush=True)
    for violation in verdict.violations:
        print(violation, flush=True)


if __name__ == "__main__":
    sys.exit(main())
