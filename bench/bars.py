"""What is asked of multiworker, as ratios within one run. Pure functions of the figures."""

from collections.abc import Callable, Iterator

from bench.contenders import US
from bench.figures import KINDS, PEERS, RIVALS, Bar, Run
from bench.limits import IMPORTS, LOOP, PLAIN, REDIS, STEPS, TIMER
from bench.stand import PROCS


def _against(
    key: str, among: tuple[str, ...], limit: float, goal: float | None = None
) -> Callable[[Run], Iterator[Bar]]:
    """Ask for a multiple of the best of some; where less is better, for at most that multiple."""

    def judge(run: Run) -> Iterator[Bar]:
        best = run.best(key, among)
        if best and (ratio := run.ratio(key, best)) is not None:
            yield Bar(f"{KINDS[key].title} / {best}", ratio, limit, " x", KINDS[key].low, goal)

    return judge


def _share(key: str, other: str, limit: float) -> Callable[[Run], Iterator[Bar]]:
    def judge(run: Run) -> Iterator[Bar]:
        if (ratio := run.ratio(key, other)) is not None:
            yield Bar(f"{KINDS[key].title} / {other}", 100 * ratio, limit, " %")

    return judge


def _plain(key: str, limit: float, *, most: bool = True, divided: float = 1) -> Callable[[Run], Iterator[Bar]]:
    def judge(run: Run) -> Iterator[Bar]:
        if run.of(key):
            yield Bar(KINDS[key].title, run.median(key) / divided, limit, f" {KINDS[key].unit}", most)

    return judge


def _between(name: str, key: str, other: str, limit: float, *, most: bool) -> Callable[[Run], Iterator[Bar]]:
    """Compare two figures of multiworker's own."""

    def judge(run: Run) -> Iterator[Bar]:
        if run.of(key) and run.of(other):
            yield Bar(name, run.median(key) / run.median(other), limit, " x", most)

    return judge


def _preloaded(run: Run) -> Iterator[Bar]:
    smallest = run.best("memory", PEERS)
    if smallest and run.of("memory_preloaded"):
        ratio = run.median("memory_preloaded") / run.median("memory", smallest)
        yield Bar(f"memory idle, --preload / {smallest}", ratio, 1, " x", most=True)


def _place(run: Run) -> Iterator[Bar]:
    if run.of("start") and any(run.of("start", peer) for peer in PEERS):
        faster = sum(run.median("start", peer) < run.median("start") for peer in PEERS if run.of("start", peer))
        yield Bar("cold start, place among all", faster + 1, 3, most=True)


BARS = (
    _against("noop", RIVALS, 8, goal=15),
    _against("wide", RIVALS, 12, goal=30),
    _share("noop", STEPS, 55),
    _share("wide", STEPS, 45),
    _share("nap", TIMER, 95),
    _against("p50", PEERS, 1),
    _against("p99", PEERS, 1),
    _plain("p50", 1),
    _plain("p99", 5),
    _plain("commands", 3, divided=PROCS),
    _against("bulk", PEERS, 10),
    _against("single", PEERS, 1),
    _between("claim of a task, long queue / short", "claim_long", "claim_short", 1.15, most=True),
    _plain("growth", 1),
    _against("memory", PEERS, 1.3),
    _preloaded,
    _plain("memory_django_child", 15),
    _against("start", (IMPORTS,), 1.5),
    _place,
    _between("1 ms CPU, two children / one", "burn", "burn_alone", 1.7, most=False),
    _between("elements that are no tasks / no-op tasks", "flood", "flood_tasks", 0.25, most=False),
)

LIMITED = {
    "noop": (STEPS, LOOP, REDIS),
    "wide": (STEPS, LOOP, REDIS),
    "nap": (TIMER,),
    "p50": (PLAIN,),
    "p99": (PLAIN,),
}
LIMITED |= {"single": (REDIS,), "bulk": (REDIS,), "start": (IMPORTS,)}
"""Which figures have a limit to be held against."""


def judge(run: Run) -> list[Bar]:
    """Hold a run against all bars for which it has the figures."""
    return [bar for each in BARS for bar in each(run)]


def ratios(run: Run) -> list[tuple[str, str, float]]:
    """Return figure, limit, and multiworker's ratio to it, for all that were measured."""
    pairs = [(key, limit) for key, limits in LIMITED.items() for limit in limits]
    found = [(key, limit, run.ratio(key, limit, who=US)) for key, limit in pairs]
    return [(KINDS[key].title, limit, ratio) for key, limit, ratio in found if ratio is not None]
