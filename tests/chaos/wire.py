"""Scenarios of a network that loses, delays and slices, and of a Redis that forgets its scripts."""

import threading
import time
from itertools import pairwise

from tests.chaos.field import Field
from tests.chaos.ledger import read
from tests.chaos.report import Bars, Line
from tests.proxy import Loss, Rule

OFTEN, SELDOM = 0.05, 0.5
"""Chances of a request to be lost: of those that are made all the time, and of those of a boot or a death."""
FREQUENT = ("step", "BLMOVE")
RARE = ("register", "reconcile", "recover", "upkeep", "drained", "SCRIPT")
UNHEARD = 3.0
"""Seconds that an acknowledgement may take when every other reconcile is lost, too."""
FLUSH_EVERY = 0.1
PHASES = 8
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
    for phase in range(PHASES):
        over = threading.Event()
        flusher = threading.Thread(target=_flush, args=(field, over))
        if phase % 2:
            flusher.start()
        time.sleep(field.plan.seconds / PHASES)
        over.set()
        if phase % 2:
            flusher.join()
        edges.append(time.monotonic_ns())
    waiting = field.left().get("queue", 0)
    runs = read(field.directory / "ledger")
    ended = [sum(first <= (run.end or 0) < last for run in runs) for first, last in pairwise(edges)]
    share = sum(ended[1::2]) / max(1, sum(ended[::2]))
    said = f"{share:.0%} (at least {SHARE:.0%}): {ended} in phases without and with"
    field.notes.append(Line("throughput while scripts are forgotten", said, share >= SHARE or not field.plan.timed))
    field.notes.append(Line("tasks left after that", str(waiting), waiting > 0))
    return Bars()


def _flush(field: Field, over: threading.Event) -> None:
    while not over.wait(FLUSH_EVERY):
        field.client.script_flush()
