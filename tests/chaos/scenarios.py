"""All scenarios, each in the numbers of a long run and of a short one."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.chaos import hammer, kills, outages, wire
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


LASTING = ("--appendonly", "yes")
ALWAYS = (*LASTING, "--appendfsync", "always")
FEW: dict[str, Any] = {"parents": 1, "procs": 2, "concurrency": 20, "rate": 300, "timed": False}

SCENARIOS = {
    "killed-children": Scenario(kills.killed_children, Plan(), Plan(**FEW, seconds=4, every=0.4)),
    "burst": Scenario(
        kills.burst,
        Plan(count=20_000, every=0.3, parents=1, procs=4, concurrency=20, longest=0.02),
        Plan(**FEW, count=1_000, every=0.3, longest=0.02),
    ),
    "killed-parents": Scenario(
        kills.killed_parents,
        Plan(every=2, stuck=4, procs=2),
        Plan(**FEW | {"parents": 2, "procs": 1}, seconds=3, every=0.5, stuck=4),
    ),
    "stopped-children": Scenario(
        kills.stopped_children,
        Plan(seconds=60, every=1, procs=2, stuck=20, rate=100, shortest=0.5, longest=2),
        Plan(**FEW | {"parents": 2}, seconds=1, every=0.5, stuck=2, shortest=0.05, longest=0.5),
    ),
    "blocked-loop": Scenario(
        kills.blocked_loop,
        Plan(procs=2, parents=1, count=10, hold=20, rate=500),
        Plan(**FEW, seconds=3, count=2, hold=4, stuck=10),
    ),
    "pills": Scenario(
        kills.pills,
        Plan(count=5_000, pills=20, parents=1, concurrency=20, stuck=2, rate=500),
        Plan(**FEW, count=300, pills=5, stuck=1),
    ),
    "rolling": Scenario(
        kills.rolling,
        Plan(every=5, procs=2, rate=100, shortest=2.5, longest=3.5),
        Plan(**FEW | {"parents": 2, "procs": 1, "rate": 50}, seconds=3, every=0.5, shortest=0.5, longest=1),
    ),
    "ended-redis": Scenario(
        outages.ended_redis,
        Plan(every=10, hold=1, procs=2, rate=500),
        Plan(**FEW, seconds=2, every=0.5, hold=0.3),
        LASTING,
    ),
    "outlived-leases": Scenario(
        outages.ended_redis,
        Plan(seconds=40, every=2, hold=7, stuck=3, parents=1, rate=10, shortest=4, longest=9),
        Plan(**FEW | {"procs": 3, "rate": 15}, seconds=3, every=1, hold=3, stuck=1, shortest=2, longest=4),
        LASTING,
    ),
    "killed-redis": Scenario(
        outages.killed_redis,
        Plan(every=10, hold=1, procs=2, rate=500),
        Plan(**FEW, seconds=2, every=0.5, hold=0.3),
        LASTING,
    ),
    "killed-redis-always": Scenario(
        outages.killed_redis,
        Plan(every=10, hold=1, procs=2, rate=500),
        Plan(**FEW, seconds=2, every=0.5, hold=0.3),
        ALWAYS,
    ),
    "paused-redis": Scenario(
        outages.paused_redis,
        Plan(every=5, hold=60, procs=2, rate=200),
        Plan(**FEW, every=0.5, hold=6, stuck=3),
    ),
    "full-memory": Scenario(
        outages.full_memory,
        Plan(seconds=30, every=10, procs=2, concurrency=20, rate=4_000, shortest=0.05, longest=0.1),
        Plan(**FEW | {"rate": 4_000}, seconds=1, every=1, shortest=0.05, longest=0.1),
    ),
    "full-disk": Scenario(
        outages.full_disk,
        Plan(every=5, hold=20, procs=2, rate=500),
        Plan(**FEW, seconds=1, every=1, hold=2),
        LASTING,
    ),
    "replica": Scenario(
        outages.replica,
        Plan(every=5, hold=20, procs=2, rate=500),
        Plan(**FEW, seconds=1, every=1, hold=2),
    ),
    "loading": Scenario(
        outages.loading,
        Plan(every=5, hold=15, procs=2, rate=500),
        Plan(**FEW, seconds=1, every=1, hold=2),
        LASTING,
    ),
    "wrong-types": Scenario(
        outages.wrong_types,
        Plan(hold=5, procs=2, rate=500),
        Plan(**FEW, hold=0.5),
    ),
    "lost-replies": Scenario(
        wire.lost_replies,
        Plan(every=2, procs=2, stuck=10, rate=500),
        Plan(**FEW, seconds=4, every=1, stuck=2),
    ),
    "lost-requests": Scenario(
        wire.lost_requests,
        Plan(every=2, procs=2, stuck=10, rate=500),
        Plan(**FEW, seconds=4, every=1, stuck=2),
    ),
    "ghosts": Scenario(
        wire.ghosts,
        Plan(every=2, procs=2, rate=500, hold=40),
        Plan(**FEW, seconds=4, every=1, stuck=4, hold=2),
    ),
    "sliced": Scenario(
        wire.sliced,
        Plan(count=2_000, procs=2, hold=0.25),
        Plan(**FEW, count=200, hold=0.02),
    ),
    "forgotten-scripts": Scenario(
        wire.forgotten_scripts,
        Plan(every=0.5, count=400_000, parents=1, procs=2, rate=50_000, shortest=0, longest=0),
        Plan(**FEW | {"rate": 50_000}, every=0.1, count=40_000, shortest=0, longest=0),
    ),
    "lost-scripts": Scenario(
        hammer.lost_scripts,
        Plan(count=10_000, parents=1, procs=2, stuck=2, patience=1_000),
        Plan(**FEW, count=50, stuck=2),
    ),
    "ghost-scripts": Scenario(
        hammer.ghost_scripts,
        Plan(count=10_000, parents=1, procs=2, stuck=4, hold=3, patience=3_000),
        Plan(**FEW, count=50, stuck=2, hold=0.5),
    ),
    "reapers": Scenario(
        hammer.reapers,
        Plan(count=10_000, rate=20_000, parents=1, procs=2, shortest=0, longest=0),
        Plan(**FEW | {"rate": 5_000}, count=2_000, shortest=0, longest=0),
    ),
}
