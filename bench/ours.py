"""The loads that only multiworker gets: its bars are about itself, or there is nothing to compare them with."""

import itertools
import statistics
import time
from pathlib import Path

import redis

from bench import bare, lib
from bench.contenders import Contender
from bench.loads import Figures, Sizes, count_of, patience_of, throughput
from bench.stand import PERMITS, WIDE, Stand, Workers
from bench.work import BURN
from multiworker.worker.keys import Keys

SHORT = 10_000
"""Tasks of the short queue; also how many are claimed from the long one for one figure."""
PROBES = 5
TINY = b'{"type":"noop"}'
BYTES = 40
"""Of memory for each waiting TINY, with room to spare; Redis takes about 20."""
FLOOD = 50_000
DJANGO = ("--preload", "--settings", "bench.project")


def scaling(stand: Stand, contender: Contender, sizes: Sizes) -> Figures:
    """Compute 1 ms in one process."""
    tasks = count_of(contender, sizes, 1 / BURN)
    figure, _ = throughput(stand, contender, "burn", tasks, patience_of(contender, tasks, 1 / BURN), procs=1)
    return {"burn_alone": figure}


def preload(stand: Stand, contender: Contender, sizes: Sizes) -> Figures:
    """Weigh the tree with --preload, and what one more child costs with --preload and Django."""
    two, four = (_weigh(stand, contender, sizes, procs, DJANGO) for procs in (2, 4))
    plain = _weigh(stand, contender, sizes, 2, ("--preload",))
    return {"memory_preloaded": plain, "memory_django_child": (four - two) / 2}


def _weigh(stand: Stand, contender: Contender, sizes: Sizes, procs: int, more: tuple[str, ...]) -> float:
    page = stand.page()
    stand.push(contender, "one", "age", 1)
    with stand.workers(contender, page, procs=procs, more=more) as workers:
        workers.until_noted(1, lib.PATIENCE)
        time.sleep(sizes.settle)
        return lib.memory(workers.pids())


class _Letters:
    """Counts dead letters."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def total(self) -> int:
        return int(self._client.xlen(Keys(lib.QUEUE).dead))


def flood(stand: Stand, contender: Contender, sizes: Sizes) -> Figures:
    """Bury elements that are no tasks, and do as many that are; start included, as an operator would see it."""
    count = round(FLOOD / Sizes().seconds * sizes.seconds)
    figures = {}
    for key, payload in (("flood", b"{}"), ("flood_tasks", b'{"type":"noop","data":0}')):
        page = stand.page()
        lib.push(stand.client, payload, count)
        begun = time.monotonic()
        with stand.workers(contender, page) as workers:
            counter = page if key == "flood_tasks" else _Letters(stand.client)
            figures[key] = count / (workers.until_done(count, 60, counter=counter) - begun)
    return figures


def affordable(wanted: int, available: int) -> int:
    """Return how many waiting tasks take at most half of the memory that is there.

    Args:
        wanted: tasks.
        available: bytes.
    """
    return min(wanted, available // 2 // BYTES)


def _available() -> int:
    (line,) = [line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemAvailable:")]
    return int(line.split()[1]) * 1024


def backlog(stand: Stand, contender: Contender, sizes: Sizes) -> Figures:
    """Claim from a short queue and from a very long one; then have one child do all that is left of it."""
    tasks = affordable(sizes.backlog, _available())
    if tasks < sizes.backlog:
        print(f"there is memory for {tasks:,} waiting tasks only, not for {sizes.backlog:,}", flush=True)
    stand.page()
    short = []
    for _ in range(PROBES):
        lib.push(stand.client, TINY, SHORT)
        short.append(_claim_cost(stand))
    page = stand.page()
    lib.push(stand.client, TINY, tasks)
    full = [_claim_cost(stand) for _ in range(PROBES)]
    rest = int(stand.client.llen(lib.QUEUE))
    keys = Keys(lib.QUEUE)
    stand.client.delete(keys.workers, *stand.client.scan_iter(f"{keys.prefix}:inflight:*"))  # the probes are gone
    with stand.workers(contender, page, procs=1, permits=WIDE) as workers:
        patience = patience_of(contender, rest)
        grown = _growth(workers, min(sizes.stretch, rest // 5), rest, patience)
        workers.until_done(rest, patience)
    return {
        "backlog": tasks,
        "claim_short": statistics.median(short),
        "claim_long": statistics.median(full),
        "growth": grown,
    }


def _claim_cost(stand: Stand) -> float:
    """Return the microseconds of script time for each task, of SHORT tasks claimed by PERMITS at a time."""
    client = bare.connect(str(stand.socket))
    client.config_resetstat()
    worker = f"probe-{time.monotonic_ns()}"
    claimed = sum(
        len(reply.claims) for reply in itertools.islice(bare.steps(client, worker, PERMITS), SHORT // PERMITS)
    )
    spent = float(lib.section(client, "commandstats")["cmdstat_evalsha"]["usec"])
    client.close()
    if claimed != SHORT:
        raise RuntimeError(f"{claimed} tasks were claimed of {SHORT}")
    return spent / claimed


def _growth(workers: Workers, early: int, late: int, patience: float) -> float:
    """Return by how many MiB a child has grown between two numbers of done tasks."""
    workers.until_done(early, patience, more=True)
    before = _child(workers)
    workers.until_done(round(late * 0.98), patience, more=True)
    return _child(workers) - before


def _child(workers: Workers) -> float:
    return max(lib.memory([pid], "Rss") for pid in workers.pids())
