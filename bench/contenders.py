"""Who takes part, as plain data. How each peer's tasks and producer look is in peers/."""

from dataclasses import dataclass, field

from bench.environments import OWN

US = "multiworker"


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A task queue, set up as its documentation says for many tasks, without results and with little to log.

    Args:
        name: what it is called in all tables.
        package: whose version counts.
        environment: see environments.py.
        module: in peers/.
        command: the program and its arguments; {procs}, {permits} and {number} (of the process) are filled in.
        copies: it has no way to start several processes, so it is started that many times.
        variables: more of its environment.
        keeps: a task in a killed process is still known afterwards; only such peers count for the bars of throughput.
        delivery: its guarantee, in a few words.
        after_kill: what its documentation or source says about the tasks of a killed process, by default.
        pace: about how many no-op tasks a second it does on two cores; sizes the loads, and is no result.
        single: it runs one task at a time in a process, whatever is asked for.
        note: what is set otherwise than by default, or differs from the others.
    """

    name: str
    package: str
    environment: str = "peers"
    module: str
    command: tuple[str, ...]
    copies: bool = False
    variables: dict[str, str] = field(default_factory=dict)
    keeps: bool
    delivery: str
    after_kill: str
    pace: int
    single: bool = False
    note: str = ""


_START = ("multiworker", "start", "--procs", "{procs}", "--concurrency", "{permits}", "--log-level", "warning")
_HANDLERS = ("--handler", "bench.peers.multiworker")
_TASKIQ = ("taskiq", "worker", "bench.peers.taskiq:broker", "--workers", "{procs}", "--max-async-tasks", "{permits}")
_QUIET = ("--log-level", "WARNING")

CONTENDERS = (
    Contender(
        name=US,
        package="multiworker",
        environment=OWN,
        module="multiworker",
        command=(*_START, *_HANDLERS),
        keeps=True,
        delivery="at least once",
        after_kill="run again at once",
        pace=300_000,
    ),
    Contender(
        name="Celery",
        package="celery",
        module="celery",
        command=(
            *("celery", "--app", "bench.peers.celery", "--quiet", "worker", "--pool", "threads"),
            *("--concurrency", "{permits}", "--hostname", "{number}@bench", "--loglevel", "WARNING"),
            *("--without-gossip", "--without-mingle", "--without-heartbeat"),
        ),
        copies=True,
        keeps=True,
        delivery="at least once, almost",
        after_kill="run again after 1 h; lost in a window between BRPOP and the record of it",
        pace=3_500,
        note="acks_late; thread pool; no gossip, mingle, heartbeat",
    ),
    Contender(
        name="RQ",
        package="rq",
        module="rq",
        command=("rq", "worker-pool", "--config", "bench.peers.rq", "--quiet", "--num-workers", "{procs}", "default"),
        keeps=True,
        delivery="kept, as failed",
        after_kill="filed as failed at once; run again only with Retry",
        pace=180,
        single=True,
        note="forks for each task, one at a time in a process",
    ),
    Contender(
        name="Dramatiq",
        package="dramatiq",
        module="dramatiq",
        command=("dramatiq", "bench.peers.dramatiq", "--processes", "{procs}", "--threads", "{permits}"),
        keeps=True,
        delivery="at least once",
        after_kill="run again after 60 s or much later; all processes stop",
        pace=10_000,
        note="threads",
    ),
    Contender(
        name="arq",
        package="arq",
        environment="arq",
        module="arq",
        command=("arq", "bench.peers.arq.WorkerSettings", "--custom-log-dict", "bench.peers.arq.LOGS"),
        copies=True,
        keeps=True,
        delivery="at least once",
        after_kill="run again after 310 s",
        pace=3_300,
        note="polls every 10 ms instead of 500",
    ),
    Contender(
        name="SAQ",
        package="saq",
        environment="saq",
        module="saq",
        command=("saq", "bench.peers.saq.settings", "--workers", "{procs}", "--quiet"),
        keeps=True,
        delivery="kept, as aborted",
        after_kill="aborted within 70 s; run again only with more than one attempt",
        pace=5_500,
    ),
    Contender(
        name="TaskIQ list",
        package="taskiq",
        module="taskiq",
        command=(*_TASKIQ, *_QUIET, "--no-parse"),
        variables={"BENCH_BROKER": "list"},
        keeps=False,
        delivery="at most once",
        after_kill="lost",
        pace=9_500,
        note="no parsing of arguments",
    ),
    Contender(
        name="TaskIQ stream",
        package="taskiq",
        module="taskiq",
        command=(*_TASKIQ, *_QUIET, "--no-parse"),
        variables={"BENCH_BROKER": "stream"},
        keeps=True,
        delivery="at least once",
        after_kill="run again after 10 min, once something new comes",
        pace=9_500,
        note="no parsing of arguments",
    ),
    Contender(
        name="Huey",
        package="huey",
        module="huey",
        command=(
            *("huey_consumer", "bench.peers.huey.huey", "--worker-type", "thread", "--workers", "{permits}"),
            *("--quiet", "--no-periodic"),
        ),
        copies=True,
        keeps=False,
        delivery="at most once",
        after_kill="lost",
        pace=13_000,
        note="threads",
    ),
    Contender(
        name="streaQ",
        package="streaq",
        module="streaq",
        command=("streaq", "run", "--workers", "{procs}", "bench.peers.streaq:worker"),
        keeps=True,
        delivery="at least once",
        after_kill="run again after 60 to 120 s",
        pace=3_500,
        note="uvloop",
    ),
)


def commands(contender: Contender, procs: int, permits: int) -> list[list[str]]:
    """Return the command lines that run a contender.

    Args:
        contender: which one.
        procs: worker processes in all.
        permits: tasks at once in each.
    """
    return [
        [part.format(procs=procs, permits=permits, number=number) for part in contender.command]
        for number in range(procs if contender.copies else 1)
    ]
