"""All scenarios, each in the numbers of a long run and of a short one."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.chaos import kills
from tests.chaos.field import Field, Plan
from tests.chaos.report import Bars


@dataclass(frozen=True)
class Scenario:
    """What happens.

    Args:
        play: starts everybody and does the harm; returns what may come of it.
        long: the numbers of `make chaos`.
        short: the numbers of the tests; how soon tasks run again is no bar on a machine with other things to do.
        redis: options of redis-server.
    """

    play: Callable[[Field], Bars]
    long: Plan
    short: Plan
    redis: tuple[str, ...] = ()


NO_HURRY = 60.0
SCENARIOS = {
    "killed-children": Scenario(
        kills.killed_children,
        Plan(),
        Plan(seconds=4, every=0.4, procs=2, concurrency=20, rate=400, recovery=NO_HURRY),
    ),
    "killed-parents": Scenario(
        kills.killed_parents,
        Plan(every=2, stuck=4, procs=2),
        Plan(seconds=4, every=0.5, procs=1, stuck=4, rate=300),
    ),
    "stopped-children": Scenario(
        kills.stopped_children,
        Plan(seconds=20, every=1, procs=2, stuck=20, rate=500),
        Plan(seconds=1, every=0.5, procs=2, stuck=2, concurrency=20, rate=200),
    ),
    "blocked-loop": Scenario(
        kills.blocked_loop,
        Plan(seconds=60, procs=2, parents=1, count=10, hold=20, rate=500),
        Plan(seconds=3, procs=2, parents=1, count=2, hold=4, stuck=10, rate=200),
    ),
    "pills": Scenario(
        kills.pills,
        Plan(count=5_000, parents=1, procs=4, concurrency=20, stuck=2, rate=500),
        Plan(count=600, parents=1, procs=2, concurrency=10, stuck=2, rate=300),
    ),
    "rolling": Scenario(
        kills.rolling,
        Plan(every=5, procs=2, rate=100, shortest=2.5, longest=3.5),
        Plan(seconds=3, every=0.5, procs=1, rate=100, shortest=0.5, longest=1),
    ),
}
