"""Measures the parent's acceptance list: what dies, is signalled, hangs, reloads, and what the parent itself costs.

python tests/chaos/parent.py [ROW ...] [--quick] [--report FILE]
python tests/chaos/parent.py --list

Real parents run on a real Redis. Each row is held against its bar, in a table in Markdown. Exit code 1 on a miss.
"""

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from _pytest.outcomes import OutcomeException, Skipped

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.chaos.rows import boots, commands, costs, deaths, load
from tests.chaos.rows.bench import Bench, Measured, MissingError
from tests.fix_redis import RedisServer


class Row(NamedTuple):
    """One line of the list.

    Args:
        measure: what is done.
        bar: what it is held against.
    """

    measure: Callable[[Bench], Measured]
    bar: str

    @property
    def what(self) -> str:
        """What is done, in words."""
        return (self.measure.__doc__ or "").strip().rstrip(".")


ROWS = {
    "1": Row(deaths.kill_one, "READY again in 0.5 s + boot; no other pid changes; signal named; counted"),
    "2": Row(deaths.kill_all, "all READY in 1 s + boot of 4"),
    "3": Row(deaths.kill_parent, "no child after 0.5 s"),
    "4": Row(deaths.kill_parent_of_wedged, "wedged: gone in stuck-timeout + 2 s; busy: finishes, gone in the grace"),
    "5": Row(commands.term_after_fork, "0 lost; without blocked signals some"),
    "6": Row(commands.term_while_starting, "exit 0 in 1 s, no child left"),
    "7": Row(commands.storm_of_hangups, "at most 2 cycles; READY never under n; at most n + 1 and draining ones"),
    "8": Row(commands.steady_hangups, "at most 1 + 1 a second; ends on the last code"),
    "9": Row(boots.broken_at_first, "exit 78 in 1 s + a start; at most n forks; one traceback each"),
    "10": Row(boots.broken_reload, "same pids, 0 lost, at most 3 boots, told as failed; the next good one works"),
    "11": Row(boots.crash_after_boot, "never under n - 1 READY; abandoned"),
    "12": Row(load.reloads_under_load, "0 lost, 0 run twice, at least 90 % of 500/s in every second"),
    "13": Row(commands.term_during_reload, "exit 0 in 1 s; nothing forked after TERM"),
    "14": Row(commands.never_drain, "last child gone at grace + 0.5 s; n killed; tasks given back; exit 0"),
    "15": Row(commands.impatience, "last child gone in 0.3 s; exit 0 when their tasks are given back"),
    "16": Row(deaths.stuck_loops, "replaced in stuck-timeout + 2 s; stacks but of the stopped one"),
    "17": Row(boots.slow_boot, "not killed"),
    "18": Row(boots.hanging_boot, "killed at the boot timeout, forked again; TERM: exit 0"),
    "19": Row(boots.crash_loop, "at most 32 forks; exit 70 at 60 s +- 10 %"),
    "20": Row(boots.fork_bomb, "at most 32 forks in 60 s; parent under 2 % of a core"),
    "21": Row(boots.failing_forks, "one line a try; back within one back-off"),
    "22": Row(costs.many_reloads, "fds and threads the same, RSS growth under 1 MiB, 0 zombies"),
    "23": Row(costs.idle, "under 0.5 % of a core, RSS under 25 MiB"),
    "24": Row(costs.stopped_parent, "nobody is killed"),
    "27": Row(deaths.left_behind, "the program is gone in 1 s"),
    "memory": Row(costs.preloaded_memory, "at most 15 MiB PSS for each more child"),
    "preload": Row(costs.preloaded_restart, "READY again in 150 ms, median of 20"),
}
"""Those with a figure; the others are tests of their own (docs/supervisor.md)."""
HEAD = "| row | what | bar | measured | |\n|---|---|---|---|---|"


def measure(row: Row, *, quick: bool) -> Measured:
    """Measure one row, on a Redis of its own.

    Args:
        row: which.
        quick: take small numbers.
    """
    server = RedisServer(Path(tempfile.mkdtemp(prefix="mw-")))
    try:
        server.start()
        return row.measure(Bench(server, quick=quick))
    finally:
        server.stop()
        shutil.rmtree(server.directory)


def main() -> int:
    """Measure what was asked for.

    Returns:
        The exit code: 0 if every bar is held.
    """
    given = _arguments()
    if given.list:
        print("\n".join(f"{name:<8} {row.what}" for name, row in ROWS.items()))
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that nobody is left behind
    lines, missed = [HEAD], False
    print(HEAD, flush=True)
    for name in given.rows or ROWS:
        row = ROWS[name]
        said, mark = _judged(row, quick=given.quick)
        missed = missed or mark == "MISS"
        lines.append(f"| {name} | {row.what} | {row.bar} | {said} | {mark} |")
        print(lines[-1], flush=True)
        if given.report:
            Path(given.report).write_text("\n".join(lines) + "\n", "utf-8")
    return int(missed)


def _judged(row: Row, *, quick: bool) -> tuple[str, str]:
    begun, busy = time.monotonic(), os.getloadavg()[0]
    try:
        measured = measure(row, quick=quick)
    except Skipped as skipped:
        return f"skipped: {skipped}", ""
    except (OutcomeException, MissingError, TimeoutError) as failure:
        return f"did not come to its end: {str(failure).partition(chr(10))[0]}", "MISS"
    said = f"{measured.said} [{time.monotonic() - begun:.0f} s, load {busy:.0f}]"
    return said, "ok" if measured.right and measured.in_time else "MISS"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", choices=[*ROWS, []], metavar="ROW")
    parser.add_argument("--list", action="store_true", help="say what there is")
    parser.add_argument("--quick", action="store_true", help="take small numbers, as the tests do")
    parser.add_argument("--report", help="Markdown file for the table")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
