"""Rows about what the parent costs, and what must not grow."""

import contextlib
import signal
import statistics
import time
from pathlib import Path

from multiworker.worker.words import Total, Word
from tests.chaos.rows.bench import MIB, Bench, Measured, MissingError, after, board_of, cpu_seconds, pss, status
from tests.system.fix_system import system_processes

WARM_UP = 20
DJANGO = """
SECRET_KEY = "not secret"
INSTALLED_APPS = ["django.contrib.admin", "django.contrib.auth", "django.contrib.contenttypes",
                  "django.contrib.sessions", "django.contrib.messages", "django.contrib.staticfiles"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}}
USE_TZ = True
"""


def many_reloads(bench: Bench) -> Measured:
    """A trivial program is reloaded again and again, without the pause and the trial in between."""
    count = bench.take(1000, 5)
    with bench.engine(procs=1, constants={"reload.PAUSE": 0.0, "reload.TRIAL": 0.0}) as engine:
        totals = board_of(engine).totals

        def reload(times: int) -> None:
            for _ in range(times):
                decided = totals[Total.DECIDED]
                engine.send(signal.SIGHUP)
                after(lambda: totals[Total.DECIDED] > decided, "a reload")  # noqa: B023

        def possessions() -> tuple[int, int, int]:
            after(lambda: len(engine.processes()) == 3, "parent, template and child alone")
            fds = len(list(Path(f"/proc/{engine.pid}/fd").iterdir()))
            return fds, status(engine.pid, "Threads"), status(engine.pid, "VmRSS")

        reload(WARM_UP)
        before = possessions()
        begun = time.monotonic()
        reload(count)
        took = time.monotonic() - begun
        now = possessions()
        engine.until_ready(1)
        with contextlib.suppress(MissingError):  # the last child may have ended just now
            after(lambda: not _zombies(engine.pid), "the last burial", patience=5)
        zombies = _zombies(engine.pid)
        grown = [later - earlier for earlier, later in zip(before, now, strict=True)]
        right = grown[:2] == [0, 0] and not zombies and engine.stop() == 0
    said = f"{count} in {took:.0f} s: fds {grown[0]:+d}, threads {grown[1]:+d}, RSS {grown[2] / 1024:+.0f} KiB"
    return Measured(f"{said}, zombies {zombies}", right, grown[2] < MIB)


def _zombies(parent: int) -> int:
    return sum(one.parent == parent and not one.is_alive for one in system_processes())


def idle(bench: Bench) -> Measured:
    """The parent has nothing to do."""
    with bench.engine() as engine:
        time.sleep(1)
        before, begun = cpu_seconds(engine.pid), time.monotonic()
        time.sleep(bench.take(30, 3))
        share = (cpu_seconds(engine.pid) - before) / (time.monotonic() - begun)
        rss = status(engine.pid, "VmRSS") / MIB
        right = engine.stop() == 0
    return Measured(f"{share:.2%} of a core, RSS {rss:.1f} MiB", right, share < 0.005 and rss < 25)


def stopped_parent(bench: Bench) -> Measured:
    """The parent is stopped for a while."""
    seconds = bench.take(60, 4)
    with bench.engine("--stuck-timeout", "2", procs=2) as engine:
        before = engine.until_ready(2)
        engine.send(signal.SIGSTOP)
        time.sleep(seconds)
        engine.send(signal.SIGCONT)
        time.sleep(3)
        right = engine.until_ready(2) == before and not engine.lines("stuck|died") and engine.stop() == 0
    return Measured(f"stopped for {seconds} s: nobody was killed", right)


def preloaded_memory(bench: Bench) -> Measured:
    """What one more child costs with --preload and Django."""
    sizes = {}
    for procs in (1, 4):
        with bench.engine(*_django(), procs=procs, files={"project.py": DJANGO}) as engine:
            engine.push("quick", *range(200))
            engine.until_noted(200, "end")
            sizes[procs] = pss(engine.processes())
            right = engine.stop() == 0
    each = (sizes[4] - sizes[1]) / 3 / MIB
    said = f"{each:.1f} MiB PSS each ({sizes[1] / MIB:.0f} with 1, {sizes[4] / MIB:.0f} with 4)"
    return Measured(said, right, each <= 15)


def preloaded_restart(bench: Bench) -> Measured:
    """How soon a killed child is back with --preload and Django."""
    times = []
    with bench.engine(*_django(), procs=1, files={"project.py": DJANGO}) as engine:
        for n in range(bench.take(20, 3)):
            (victim,) = engine.until_ready(1)
            engine.push("quick", n)
            after(lambda: any(record[Word.DONE] for record in engine.records()), "the acknowledgement")
            engine.send(signal.SIGKILL, victim)
            times.append(after(lambda: set(engine.ready()) - {victim}, "another child"))  # noqa: B023
        right = engine.stop() == 0
    median = statistics.median(times)
    said = f"median {1000 * median:.0f} ms of {len(times)}, {1000 * max(times):.0f} at most"
    return Measured(said, right, median <= 0.15)


def _django() -> tuple[str, ...]:
    return ("--preload", "--settings", "project")
