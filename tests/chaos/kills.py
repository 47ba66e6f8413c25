"""Scenarios of processes that are killed, stopped, blocked, told to leave, or that end themselves."""

import json
import os
import signal
import subprocess
import time

from multiworker.worker.words import Word
from tests.chaos.field import Field
from tests.chaos.ledger import Fault
from tests.chaos.producer import QUEUE
from tests.chaos.report import Bars, Line

GIVEN_UP = "was silent too long"
AT_ONCE = 100
"""Tasks in one LPUSH of redis-cli."""
WAYS = ("kill", "segfault", "exit", "abort", "hang")


def killed_children(field: Field) -> Bars:
    """F1: a random child is killed again and again."""
    field.start_all()
    field.produce()
    for _ in field.every():
        field.kill_a_child()
    return Bars(recovery=1.0 if field.plan.timed else None, duplicates=True)


def burst(field: Field) -> Bars:
    """A queue that redis-cli has filled is worked off with --burst, while one child after the other is killed."""
    plan = field.plan
    data = [{"n": n, "seconds": plan.longest} for n in range(plan.count)]
    tasks = [json.dumps({"type": "chaos", "data": one}) for one in data]
    pushes = b"".join(_resp("LPUSH", QUEUE, *tasks[at : at + AT_ONCE]) for at in range(0, plan.count, AT_ONCE))
    program = ["redis-cli", "-s", str(field.server.socket), "--pipe"]
    said = subprocess.run(program, input=pushes, capture_output=True, check=True).stdout
    assert b"errors: 0" in said, said
    field.acknowledged += range(plan.count)
    parent = field.start("--burst")
    while parent.alive:
        time.sleep(plan.every)
        field.kill_a_child()
    parent.wait(plan.patience)
    return Bars(recovery=1.0 if plan.timed else None, silence=1.0 if plan.timed else None, duplicates=True)


def _resp(*words: str) -> bytes:
    """Write a command as it goes over the wire, which is what redis-cli --pipe takes."""
    raw = [word.encode() for word in words]
    return b"*%d\r\n" % len(raw) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in raw)


def killed_parents(field: Field) -> Bars:
    """F2: one parent after the other is killed, and another started; orphaned children finish and leave."""
    field.start_all()
    field.produce()
    outlived = []
    for _ in field.every():
        victim = next(parent for parent in field.parents if parent.alive)
        field.until(lambda: len(victim.ready()) == field.plan.procs, "its children")  # noqa: B023 - used at once
        victim.process.kill()
        victim.process.wait()
        outlived.append(field.until(lambda: not victim.processes(), "the orphans' end"))  # noqa: B023 - used at once
        field.faults.append(Fault("parent killed", frozenset({victim.pid}), 0, 0))
        field.start()
    field.notes.append(
        Line(
            "an orphan lived on, at most",
            f"{max(outlived):.1f} s (at most 2 s)",
            max(outlived) <= 2 or not field.plan.timed,
        )
    )
    return Bars(accounts=False)


def stopped_children(field: Field) -> Bars:
    """F3: a child stands still, but for less than its lease; and then a parent with its children for longer."""
    field.start_all()
    field.produce()
    short = min(10.0, field.plan.stuck / 2)
    for _ in field.every():
        child = field.random.choice(field.parents[0].ready())[Word.PID]
        with field.stopped(child, kind="short stop"):
            time.sleep(short)
        briefly = field.faults.pop()
        field.notes.append(Line("stopped briefly", f"{(briefly.after - briefly.before) / 1e9:.1f} s"))
        children = field.parents[0].ready()
        field.until(lambda: all(record[Word.IN_FLIGHT] for record in children), "tasks in flight")  # noqa: B023
        given_up = field.parents[1].log.count(GIVEN_UP) + len(children)
        with field.stopped(field.parents[0].pid, *[record[Word.PID] for record in children]):
            field.until(lambda: field.parents[1].log.count(GIVEN_UP) >= given_up, "the end of the leases")  # noqa: B023
            time.sleep(1)
        field.until_ready()
    return Bars(duplicates=True, beside=True, deaths=True, accounts=False)


def blocked_loop(field: Field) -> Bars:
    """F4: a handler blocks its event loop for long, but not too long."""
    field.start_all()
    blocking = {n: {"block": field.plan.hold} for n in range(100, 100 + 100 * field.plan.count, 100)}
    field.produce(special=blocking)
    for _ in field.every():
        pass
    return Bars()


def pills(field: Field) -> Bars:
    """F21: some tasks end their process in all ways, among many that do not."""
    field.fatal_time = field.plan.stuck + 5
    field.start_all()
    count = field.plan.pills
    spacing = field.plan.count // count
    deadly = {n * spacing + spacing // 2: {"die": WAYS[n % len(WAYS)]} for n in range(count)}
    field.produce(limit=field.plan.count, special=deadly).join()
    return Bars(duplicates=True, dead=tuple(deadly), accounts=False)


def rolling(field: Field) -> Bars:
    """F22: one parent after the other is told to leave, while tasks take seconds."""
    field.start_all()
    field.produce()
    for _ in field.every():
        leaver = next(parent for parent in field.parents if parent.alive)
        os.kill(leaver.pid, signal.SIGTERM)
        field.start()
        leaver.wait(field.plan.patience)
        field.until_ready()
        field.faults.append(Fault("SIGTERM", frozenset({leaver.pid}), 0, 0))
    return Bars()
