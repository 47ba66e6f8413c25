"""Rows about children that do not boot, boot slowly, or crash again and again; and about forks that fail."""

import re
import signal
import time
from datetime import datetime

from multiworker.supervisor.restart import BUDGET_WINDOW, CAP, GIVE_UP, JITTER
from multiworker.worker.words import State, Word
from tests.chaos.rows.bench import Bench, Measured, after, board_of, boot_time, cpu_seconds, staff
from tests.chaos.rows.commands import Census
from tests.system.fix_system import Engine
from tests.system.test_fork_fails import MANY, limit, relimit

BROKEN = ("CODE = ", "raise RuntimeError('broken')\nCODE = ")
CRASH = "import threading\nthreading.Timer({seconds}, os.abort).start()"
BOMB = "lives.child = lambda *_, **__: os._exit(9)"
FORKS = 32


def times(engine: Engine, pattern: str) -> list[float]:
    """Return the seconds at which lines were logged, by their time stamps."""
    return [datetime.fromisoformat(line.split()[0]).timestamp() for line in engine.lines(pattern)]


def broken_at_first(bench: Bench) -> Measured:
    """The handlers do not import at the first start."""
    with bench.engine() as engine:
        engine.stop()
        begun = time.monotonic()
        engine.start(procs=4)
        whole = time.monotonic() - begun
        engine.stop()
        engine.write_handlers(BROKEN)
        engine.start(procs=4, wait=False)
        took = after(lambda: engine.parent.poll() is not None, "the end")
        deaths, traces = len(engine.lines("died: exit code 78")), len(engine.lines("traceback: "))
        right = engine.exit_code() == 78 and 1 <= deaths <= 4 and traces <= 4 and not engine.processes()
    said = f"78 after {took:.2f} s (a good start {whole:.2f} s); {deaths} failed boots, {traces} tracebacks"
    return Measured(said, right, took <= 1 + whole)


def broken_reload(bench: Bench) -> Measured:
    """HUP with an import error, while tasks run."""
    with bench.engine() as engine:
        before = engine.until_ready(4)
        engine.push("quick", *range(1000), seconds=0.05)
        engine.write_handlers(BROKEN)
        answer = engine.call("reload", "--wait")
        boots = len(engine.lines(r"generation 2\) died"))
        right = answer.code == 78 and "broken" in answer.err and boots <= 3 and engine.until_ready(4, 1) == before
        engine.write_handlers()
        right = right and engine.call("reload", "--wait").code == 0
        engine.until_noted(1000, "end")
        right = right and engine.stop() == 0 and engine.runs() == dict.fromkeys(range(1000), 1)
    return Measured(f"{boots} boots, same pids, `reload --wait` exits {answer.code}; 0 of 1,000 tasks lost", right)


def crash_after_boot(bench: Bench) -> Measured:
    """HUP with code that boots and crashes half a second later."""
    with bench.engine() as engine:
        before = engine.until_ready(4)
        engine.write_handlers(("CODE = ", CRASH.format(seconds=0.5) + "\nCODE = "))
        with Census(board_of(engine)) as census:
            engine.send(signal.SIGHUP)
            engine.until_line("reload failed")
        deaths = len(engine.lines(r"generation 2\) died"))
        right = census.least_ready >= 3 and engine.until_ready(4, 1) == before and engine.stop() == 0
    return Measured(f"abandoned after {deaths}; never under {census.least_ready} of 4 ready", right and deaths <= 3)


def slow_boot(bench: Bench) -> Measured:
    """An import takes long and holds the GIL."""
    seconds = bench.take(20, 4)
    code = f"end = time.monotonic() + {seconds}\nwhile time.monotonic() < end: pass"
    with bench.engine("--stuck-timeout", "2", procs=1, wait=False, code=code) as engine:
        board = board_of(engine)
        after(lambda: any(record[Word.PID] for record in staff(board, State.IMPORT)), "the import")
        pid = staff(board, State.IMPORT)[0][Word.PID]
        took = boot_time(board, 1, 1)
        right = engine.ready() == [pid] and not engine.lines("died|stuck") and engine.stop() == 0
    return Measured(f"ready after {took:.1f} s, the same process, with a stuck-timeout of 2 s", right)


def hanging_boot(bench: Bench) -> Measured:
    """An import never ends."""
    with bench.engine("--boot-timeout", "3", procs=2, wait=False, code="time.sleep(1000)") as engine:
        engine.until_line("died: signal 6", 4)
        ends = times(engine, "died: signal 6")
        took = ends[0] - times(engine, "parent of 2")[0]
        right = bool(engine.lines("did not boot within 3 s")) and engine.stop() == 0
    return Measured(f"killed after {took:.2f} s at 3 s, and again; TERM: exit 0", right, took <= 3 + 1)


def crash_loop(bench: Bench) -> Measured:
    """Children crash 0.3 s after they were ready."""
    give_up = bench.take(GIVE_UP, 3.0)
    return _loop(bench, give_up, code=CRASH.format(seconds=0.3))


def fork_bomb(bench: Bench) -> Measured:
    """Children end at once."""
    return _loop(bench, bench.take(GIVE_UP, 3.0), bomb=True)


def _loop(bench: Bench, give_up: float, *, code: str = "", bomb: bool = False) -> Measured:
    constants: dict[str, float] = {"restart.GIVE_UP": give_up, "parent.GIVE_UP": give_up}
    with bench.engine(wait=False, code=code, constants=constants, change=BOMB if bomb else "") as engine:
        cpu, begun = 0.0, time.monotonic()
        while engine.parent.poll() is None:
            cpu = max(cpu, cpu_seconds(engine.pid))
            time.sleep(0.1)
        share = cpu / (time.monotonic() - begun)
        deaths, ends = times(engine, "died: "), times(engine, "giving up")
        took = ends[0] - deaths[0]
        right = engine.parent.returncode == 70 and len(deaths) <= FORKS
    said = f"{len(deaths)} forks, exit 70 after {took:.1f} s; parent {share:.1%} of a core, start included"
    return Measured(said, right, abs(took - give_up) <= 0.1 * give_up and (share < 0.02 or not bomb))


def failing_forks(bench: Bench) -> Measured:
    """The system refuses to fork for a while."""
    with bench.engine(wait=False, procs=2, become=limit(1)) as engine:
        engine.until_line("cannot fork", 8)
        tries = times(engine, "cannot fork")
        relimit(engine, MANY)
        took = after(lambda: len(engine.ready()) == 2, "children")
        lines = [line for line in engine.text().splitlines() if not re.match(r"20\d\d-", line)]
        right = engine.stop() == 0 and not lines
    gaps = [later - earlier for earlier, later in zip(tries[:-2], tries[2:], strict=True)]
    said = f"ready {took:.2f} s after the limit was lifted (last back-off {max(gaps):.2f} s); one line a try"
    return Measured(said, right, took <= CAP * (1 + JITTER) and BUDGET_WINDOW > 0)
