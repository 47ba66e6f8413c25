"""What the machine, Redis, and the event loop allow at all: the rates that multiworker's are held against."""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable

from bench import lib
from bench.contenders import CONTENDERS, US
from bench.loads import Figures, Sizes, ages_of, count_of
from bench.meter import Meter
from bench.push import CHUNK
from bench.stand import PERMITS, PROCS, WIDE, Stand
from bench.work import NAP

STEPS = "bare step script"
LOOP = "empty asyncio loop"
REDIS = "redis-benchmark"
TIMER = "the loop's timer"
PLAIN = "two plain clients"
IMPORTS = "python -c 'import asyncio, redis.asyncio, uvloop'"
PAYLOAD = '{"id":"0123456789abcdef0123","type":"noop","data":0}'
"""About what `enqueue` sends."""
_OURS = next(contender for contender in CONTENDERS if contender.name == US)
_FASTEST = 800_000
"""Empty tasks a second that a loop of two processes does, about."""

Limit = Callable[[Stand, Sizes], Figures]


def _bare(stand: Stand, page: Meter, *arguments: str, tasks: int) -> float:
    """Run bare.py on what lies in Redis, and return its rate."""
    with stand.program([sys.executable, "-m", "bench.bare", *arguments], page) as workers:
        return workers.rate(tasks, 60)


def _steps(stand: Stand, sizes: Sizes, permits: int) -> float:
    """Two Python clients drive the step script, without handlers."""
    tasks = count_of(_OURS, sizes)
    page = stand.page()
    stand.push(_OURS, "many", "noop", tasks)
    return _bare(stand, page, "steps", str(permits), tasks=tasks)


def _loop(stand: Stand, sizes: Sizes, permits: int) -> float:
    """Two event loops run empty tasks, without Redis."""
    tasks = round(_FASTEST * sizes.seconds)
    return _bare(stand, stand.page(), "loop", str(tasks), str(permits), tasks=tasks // PROCS * PROCS)


def _timer(stand: Stand, sizes: Sizes) -> Figures:
    """Two event loops sleep in as many coroutines as there are permits."""
    rounds = max(10, round(sizes.seconds / NAP))
    naps = rounds * PROCS * PERMITS
    return {"nap": _bare(stand, stand.page(), "timer", str(naps), str(PERMITS), tasks=naps)}


def _plain(stand: Stand, sizes: Sizes) -> Figures:
    """Two clients wait as multiworker's children do, and claim what comes, with nothing around it."""
    page = stand.page()
    with stand.program([sys.executable, "-m", "bench.bare", "wait"], page) as workers:
        deadline = time.monotonic() + lib.PATIENCE
        while int(lib.section(stand.client, "clients")["blocked_clients"]) < PROCS and time.monotonic() < deadline:
            time.sleep(0.01)
        stand.push(_OURS, "spaced", "age", sizes.spaced)
        return ages_of(workers.until_noted(sizes.spaced, lib.PATIENCE))


def _imports(_stand: Stand, _sizes: Sizes) -> Figures:
    """What Python itself needs to have the libraries."""
    begun = time.monotonic()
    subprocess.run(
        [sys.executable, "-c", "import asyncio, redis.asyncio, uvloop"], check=True, env=lib.environment_of_starts()
    )
    return {"start": time.monotonic() - begun}


def _benchmark(stand: Stand, requests: int, clients: int, pipeline: int, *command: str) -> float:
    """Have Redis' own tool send a command.

    Returns:
        Requests a second.

    Raises:
        RuntimeError: it is not here, or failed.
    """
    tool = shutil.which("redis-benchmark") or shutil.which("valkey-benchmark")
    if not tool:
        raise RuntimeError("neither redis-benchmark nor valkey-benchmark is on PATH")
    fixed = ("-s", str(stand.socket), "-n", str(requests), "-c", str(clients), "-P", str(pipeline), "--csv")
    done = subprocess.run([tool, *fixed, *command], check=False, capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise RuntimeError(f"{tool} failed: {done.stderr.strip()}")
    return requests_a_second(done.stdout)


def requests_a_second(said: str) -> float:
    """Read what redis-benchmark --csv prints: eight columns, of which the first is the command, with bare quotes."""
    return float(said.splitlines()[-1].rsplit(",", 7)[1].strip('"'))


def _queue(stand: Stand, sizes: Sizes, pipeline: int) -> float:
    """Move each element to a list of what is in flight and remove it there: the least that at least once takes."""
    requests = round(300_000 * sizes.seconds)
    stand.page()
    lib.push(stand.client, PAYLOAD.encode(), requests)
    claims = _benchmark(stand, requests, PROCS, pipeline, "LMOVE", lib.QUEUE, "flying", "RIGHT", "LEFT")
    acks = _benchmark(stand, requests, PROCS, pipeline, "LREM", "flying", "1", PAYLOAD)
    return 1 / (1 / claims + 1 / acks)


def _push(stand: Stand, sizes: Sizes) -> Figures:
    """Send LPUSH by one client, with one element and with a thousand."""
    stand.page()
    single = _benchmark(stand, round(20_000 * sizes.seconds), 1, 1, "LPUSH", lib.QUEUE, PAYLOAD)
    stand.page()
    bulk = _benchmark(stand, round(500 * sizes.seconds), 1, 1, "LPUSH", lib.QUEUE, *[PAYLOAD] * CHUNK)
    return {"single": single, "bulk": bulk * CHUNK}


LIMITS: dict[str, dict[str, Limit]] = {
    "noop": {
        STEPS: lambda stand, sizes: {"noop": _steps(stand, sizes, PERMITS)},
        LOOP: lambda stand, sizes: {"noop": _loop(stand, sizes, PERMITS)},
        REDIS: lambda stand, sizes: {"noop": _queue(stand, sizes, PERMITS)},
    },
    "wide": {
        STEPS: lambda stand, sizes: {"wide": _steps(stand, sizes, WIDE)},
        LOOP: lambda stand, sizes: {"wide": _loop(stand, sizes, WIDE)},
        REDIS: lambda stand, sizes: {"wide": _queue(stand, sizes, WIDE)},
    },
    "nap": {TIMER: _timer},
    "idle": {IMPORTS: _imports},
    "latency": {PLAIN: _plain},
    "enqueue": {REDIS: _push},
}
"""By load, then by name."""
