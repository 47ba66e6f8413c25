"""Runs chaos scenarios, and shows that no task is lost or runs twice without cause.

python tests/chaos/run.py NAME... [--short] [--seconds 60] [--report FILE] [--keep FOLDER]
python tests/chaos/run.py --list

NAME is a scenario, or `all`. Each has a Redis, parents and a producer of its own; what happened is in files outside of
that Redis, and is held against its rest and the parents' logs. Exit code 1 if anything does not add up.
"""

import argparse
import dataclasses
import signal
import sys
import time
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.chaos.field import Missing, Plan, field
from tests.chaos.report import TABLE_HEAD, Judgement, Line, judge, table_row
from tests.chaos.scenarios import SCENARIOS, Scenario


def fight(scenario: Scenario, plan: Plan, keep: str = "") -> Judgement:
    """Run a scenario and judge it.

    Args:
        scenario: what to do.
        plan: in which numbers.
        keep: folder to copy the ledger and the logs to.

    Raises:
        Missing: it did not come to its end.
    """
    with field(plan, *scenario.redis, keep=keep) as made:
        bars = scenario.play(made)
        made.finish()
        return judge(made.evidence(), bars)


def show(lines: list[Line]) -> None:
    """Print a report."""
    marks = {True: "ok", False: "FAIL", None: ""}
    for name, value, right in lines:
        print(f"{marks[right]:<5} {name:<38} {value}", flush=True)


def main() -> int:
    """Run what was asked for.

    Returns:
        The exit code: 0 if everything is right.
    """
    given = _arguments()
    if given.list or not given.names:
        for name, scenario in SCENARIOS.items():
            print(f"{name:<20} {(scenario.play.__doc__ or '').strip()}")
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that nobody is left behind
    rows, failed = [TABLE_HEAD], False
    for name in SCENARIOS if given.names == ["all"] else given.names:
        scenario = SCENARIOS[name]
        plan = scenario.short if given.short else scenario.long
        changes = {key: value for key in ("seconds", "seed") if (value := getattr(given, key)) is not None}
        plan = dataclasses.replace(plan, **changes)
        print(f"== {name}: {(scenario.play.__doc__ or '').strip()}", flush=True)
        started = time.monotonic()
        keep = f"{given.keep}/{name}" if given.keep else ""
        try:
            judgement = fight(scenario, plan, keep)
        except Exception as error:  # noqa: BLE001 - whatever it was, the others are to run
            trouble = error if isinstance(error, Missing) else "".join(traceback.format_exception(error))
            print(f"FAIL  {trouble}", flush=True)
            rows.append(f"| {name} |{' |' * 10} FAIL: it did not come to its end |")
            failed = True
        else:
            show(judgement.lines)
            rows.append(table_row(name, judgement))
            failed = failed or bool(judgement.wrong)
        print(f"took {time.monotonic() - started:.1f} s\n", flush=True)
        if given.report:
            Path(given.report).write_text("\n".join(rows) + "\n")
    return int(failed)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[*SCENARIOS, "all", []], metavar="NAME")
    parser.add_argument("--list", action="store_true", help="say what there is")
    parser.add_argument("--short", action="store_true", help="the numbers that the tests take")
    parser.add_argument("--seconds", type=float, help="how long faults go on")
    parser.add_argument("--seed", type=int, help="of chance")
    parser.add_argument("--report", help="Markdown file for the table")
    parser.add_argument("--keep", help="folder to copy ledgers and logs to")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
