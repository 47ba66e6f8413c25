"""The loads that every contender gets. Each function runs one contender once and returns its figures by name."""

import math
import os
import re
import shutil
import signal
import statistics
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from bench import lib
from bench.contenders import Contender
from bench.push import CHUNK
from bench.stand import PERMITS, PROCS, WIDE, Note, Stand, Workers
from bench.work import BURN, NAP

BLOBS = 2_000
"""Large payloads a second at most: this bounds what Redis must hold."""
BURST = 1_000
HELD = 8
"""Tasks in flight when a process is killed."""
FEWEST = 200
_INSIDE_SCRIPT = re.compile(rb" \[\d+ lua\] ")
_COMMAND = re.compile(rb'^\d+\.\d+ \[\d+ [^\]]*\] "')


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much of everything.

    Args:
        seconds: that the measured part of a load should take, about.
        spaced: single tasks that idle workers get.
        settle: seconds in which workers come to rest.
        window: seconds in which the commands of idle workers are counted.
        verdict: seconds after a kill within which tasks must have started again; later is infinite.
        backlog: tasks of the long queue.
        stretch: tasks after which a child's memory is compared with that at the end.
    """

    seconds: float = 1.5
    spaced: int = 100
    settle: float = 2.0
    window: float = 2.0
    verdict: float = 5.0
    backlog: int = 10_000_000
    stretch: int = 1_000_000


QUICK = Sizes(seconds=0.3, spaced=20, settle=1.0, window=1.0, verdict=3.0, backlog=100_000, stretch=20_000)
Figures = dict[str, float]
Load = Callable[[Stand, Contender, Sizes], Figures]


def count_of(contender: Contender, sizes: Sizes, most: float = math.inf, fewest: int = FEWEST) -> int:
    """Return how many tasks last about as long as asked for.

    Args:
        contender: whose pace counts.
        sizes: for how long.
        most: tasks a second that are possible at all.
        fewest: tasks, at least.
    """
    return max(fewest, round(min(contender.pace, most) * sizes.seconds))


def patience_of(contender: Contender, tasks: int, most: float = math.inf) -> float:
    """Return the seconds after which a contender counts as stuck: ten times what it should take, and its start."""
    return 30 + 10 * tasks / min(contender.pace, most)


def throughput(
    stand: Stand,
    contender: Contender,
    task: str,
    tasks: int,
    patience: float,
    *,
    procs: int = PROCS,
    permits: int = PERMITS,
) -> tuple[float, float]:
    """Run tasks that were pushed before the start.

    Returns:
        Tasks a second, and the memory of all processes in MiB right after the measured part.
    """
    page = stand.page()
    stand.push(contender, "many", task, tasks)
    with stand.workers(contender, page, procs=procs, permits=permits) as workers:
        figure = workers.rate(tasks, patience)
        size = lib.memory(workers.pids())
        workers.until_done(tasks, patience)
    return figure, size


def noop(stand: Stand, contender: Contender, sizes: Sizes) -> Figures:
    """Do nothing, 2 x 20 at a time."""
    tasks = count_of(contender, sizes)
    figure, size = throughput(stand, contender, "noop", tasks, patience_of(contender, tasks))
    return {"noop": figure, "memory_loaded": size}


def wide(stand: Stand, contender: Contender, sizes: Sizes) -> Figures:
    """Do nothing, 2 x 200 at a time."""
    tasks = count_of(contender, sizes, fewest=FEWEST if contender.single else 4 * WIDE)
    figure, _ = throughput(stand, contender, "noop", tasks, patience_of(contender, tasks), permits=WIDE)
    return {"wide": figure}


def nap(stand: Stand, contender: Contender, sizes: Sizes) -> Figures:
    """Wait 10 ms, 2 x 20 at a time."""
    most = PROCS * PERMITS / NAP
    tasks = count_of(contender, sizes, most)
    figure, _ = throughput(stand, contender, "nap", tasks, patience_of(contender, tasks, most))
    return {"nap": figure}


def burn(stand: Stand, contender: Contender, sizes: Sizes) -> Figures:
    """Compute 1 ms, 2 x 20 at a time."""
    most = PROCS / BURN
    tasks = count_of(contender, sizes, most)
    figure, _ = throughput(stand, contender, "burn", tasks, patience_of(contender, tasks, most))
    return {"burn": figure}


def blob(stand: Stand, contender: Contender, sizes: Sizes) -> Figures:
    """Take 100 KiB, 2 x 20 at a time."""
    tasks = count_of(contender, sizes, BLOBS)
    figure, _ = throughput(stand, contender, "blob", tasks, patience_of(contender, tasks, BLOBS))
    return {"blob": figure}


def enqueue(stand: Stand, contender: Contender, sizes: Sizes) -> Figures:
    """Send tasks that nobody takes."""
    stand.page()
    single = stand.push(contender, "one", "noop", count_of(contender, sizes, 2_000) + 1)
    stand.page()
    bulk = stand.push(contender, "many", "noop", count_of(contender, sizes, fewest=2 * CHUNK) + CHUNK)
    return {"single": single.sent / single.seconds, "bulk": bulk.sent / bulk.seconds}


def idle(stand: Stand, contender: Contender, sizes: Sizes) -> Figures:
    """Start, come to rest, and get a burst."""
    page = stand.page()
    stand.push(contender, "one", "age", 1)
    begun = time.monotonic_ns()
    with stand.workers(contender, page) as workers:
        (first,) = workers.until_noted(1, lib.PATIENCE)
        time.sleep(sizes.settle)
        figures = {"start": (first.at - begun) / 1e9, "memory": lib.memory(workers.pids())}
        figures["commands"] = _commands(stand, sizes.window)
        burst = count_of(contender, sizes, BURST)
        pushed = stand.push(contender, "many", "noop", burst)
        done = workers.until_done(1 + burst, patience_of(contender, burst, BURST))
        return figures | {"burst": burst / (done - pushed.began / 1e9)}


def latency(stand: Stand, contender: Contender, sizes: Sizes) -> Figures:
    """Get single tasks at rest."""
    page = stand.page()
    stand.push(contender, "one", "age", 1)
    with stand.workers(contender, page) as workers:
        workers.until_noted(1, lib.PATIENCE)
        time.sleep(sizes.settle / 4)
        stand.push(contender, "spaced", "age", sizes.spaced)
        return ages_of(workers.until_noted(1 + sizes.spaced, lib.PATIENCE)[1:])


def ages_of(notes: list[Note]) -> Figures:
    """Return the latencies of tasks that were sent with the time of their call."""
    ages = sorted((note.at - note.data) / 1e6 for note in notes)
    return {"p50": statistics.median(ages), "p99": percentile(ages, 0.99)}


def _commands(stand: Stand, window: float) -> float:
    """Count the commands a second that Redis gets while nothing is to be done, without those inside scripts."""
    seen = stand.directory / "monitor"
    seen.unlink(missing_ok=True)
    client = shutil.which("redis-cli") or shutil.which("valkey-cli")
    if not client:
        raise RuntimeError("neither redis-cli nor valkey-cli is on PATH")
    with lib.running([client, "-s", str(stand.socket), "MONITOR"], seen) as process:
        while not seen.stat().st_size:  # MONITOR answers OK first
            time.sleep(0.01)
        time.sleep(window)
        process.terminate()
        process.wait()
    lines = [line for line in seen.read_bytes().splitlines() if _COMMAND.match(line)]
    return sum(not _INSIDE_SCRIPT.search(line) for line in lines) / window


def percentile(ascending: list[float], share: float) -> float:
    """Return the value that this share of the values does not exceed."""
    return ascending[max(0, math.ceil(len(ascending) * share) - 1)]


def kill(stand: Stand, contender: Contender, sizes: Sizes) -> Figures:
    """Kill a process that runs tasks, and wait for these to start again somewhere."""
    page = stand.page()
    stand.push(contender, "one", "hold", HELD)
    flying = PROCS if contender.single else HELD
    with stand.workers(contender, page, grace=0) as workers:
        notes = workers.until_noted(flying, lib.PATIENCE)
        ((victim, _),) = Counter(note.pid for note in notes).most_common(1)
        lost = {note.data for note in notes if note.pid == victim}
        killed = time.monotonic_ns()
        os.kill(victim, signal.SIGKILL)
        return {"restart": _restarted(workers, lost, victim, killed, sizes.verdict)}


def _restarted(workers: Workers, lost: set[int], victim: int, killed: int, patience: float) -> float:
    """Return the milliseconds until the last of some tasks has started again; infinite if one has not by then."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        again = first_again(workers.notes(), lost, victim, killed)
        if len(again) == len(lost):
            return (max(again.values()) - killed) / 1e6
        time.sleep(0.02)
    return math.inf


def first_again(notes: list[Note], lost: set[int], victim: int, killed: int) -> dict[int, int]:
    """Return when each of the killed process's tasks has started anew.

    Args:
        notes: all starts, in order.
        lost: numbers of the tasks that the process ran.
        victim: its process id.
        killed: when, in monotonic nanoseconds.
    """
    again: dict[int, int] = {}
    for note in notes:
        if note.at > killed and note.pid != victim and note.data in lost:
            again.setdefault(note.data, note.at)
    return again
