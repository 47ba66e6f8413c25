"""Scenarios of a network that loses, delays and slices, and of a Redis that forgets its scripts."""

import threading
import time
from itertools import pairwise
from statistics import mean

from tests.chaos.field import Field
from tests.chaos.ledger import read
from tests.chaos.producer import QUEUE
from tests.chaos.report import Bars, Line
from tests.proxy import Loss, Rule

OFTEN, SELDOM = 0.05, 0.5
"""Chances of a request to be lost: of those that are made all the time, and of those of a boot or a death."""
FREQUENT = ("step", "BLMOVE")
RARE = ("register", "reconcile", "recover", "upkeep", "drained", "SCRIPT")
UNHEARD = 10.0
"""Seconds that an acknowledgement may take when every other reconcile is lost, too."""
FLUSH_EVERY = 0.1
REST = 5
"""Part of the tasks that is left when the last phase ends."""
SHARE = 0.8
"""Of the throughput that is to be left when scripts are forgotten all the time."""


def rules(loss: Loss, seconds: tuple[float, float] = (0.0, 0.0)) -> list[Rule]:
    """Return the rules that harm every kind of request."""
    often = [Rule(loss, name, chance=OFTEN, seconds=seconds) for name in FREQUENT]
    return often + [Rule(loss, name, chance=SELDOM, seconds=seconds) for name in RARE]


def lost_replies(field: Field) -> Bars:
    """F8: requests are carried out and their replies lost, of every script, while children are killed now and then."""
    return _harm(field, rules(Loss.REPLY))


def lost_requests(field: Field) -> Bars:
    """F7: requests are lost on their way, of every script, while children are killed now and then."""
    return _harm(field, rules(Loss.REQUEST))


def ghosts(field: Field) -> Bars:
    """F9: requests reach Redis late, long after their sender has given up and connected again."""
    return _harm(field, rules(Loss.GHOST, (0.1, field.plan.hold)))


def _harm(field: Field, harm: list[Rule]) -> Bars:
    field.reach = UNHEARD
    field.put_proxy_between()
    field.start_all()
    field.produce()
    field.proxy(*harm)
    for _ in field.every():
        field.kill_a_child()
    field.proxy()
    field.until(lambda: field.proxy_counts()["ghosts"] == 0, "the last ghost")
    counts = field.proxy_counts()
    said = ", ".join(f"{name} {count}" for name, count in counts["done"].items())
    field.notes.append(Line("the proxy", said, sum(counts["done"].values()) > 0))
    return Bars(duplicates=True, accounts=False)


def sliced(field: Field) -> Bars:
    """F10: a slow line passes on one byte at a time."""
    field.put_proxy_between()
    field.proxy(piece=1, latency=(0.0, field.plan.hold))
    field.start_all()
    field.produce(limit=field.plan.count).join()
    return Bars()


def forgotten_scripts(field: Field) -> Bars:
    """F18: scripts are flushed every 100 ms; most of the throughput stays."""
    field.produce(limit=field.plan.count, backlog=field.plan.count).join()
    field.start_all()
    edges = [time.monotonic_ns()]
    while field.client.llen(QUEUE) > field.plan.count / REST:
        over = threading.Event()
        flusher = threading.Thread(target=_flush, args=(field, over))
        flushes = len(edges) % 2 == 0
        if flushes:
            flusher.start()
        time.sleep(field.plan.every)
        over.set()
        if flushes:
            flusher.join()
        edges.append(time.monotonic_ns())
    runs = read(field.directory / "ledger")
    ends = [run.end or 0 for run in runs]
    rates = [sum(first <= end < last for end in ends) / (last - first) * 1e9 for first, last in pairwise(edges)]
    without, flushed = rates[::2], rates[1::2]
    share = mean(flushed) / mean(without) if flushed else 0.0
    said = f"{share:.0%} (at least {SHARE:.0%}) in {len(rates)} phases: {mean(without):.0f}/s without"
    field.notes.append(Line("throughput while scripts are forgotten", said, share >= SHARE or not field.plan.timed))
    return Bars()


def _flush(field: Field, over: threading.Event) -> None:
    while not over.wait(FLUSH_EVERY):
        field.client.script_flush()
