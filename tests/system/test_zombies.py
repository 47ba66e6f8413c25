"""A child that was stopped for so long that its tasks were given away comes back: it must not have a say in them."""

import signal
import sys

from tests.system.fix_system import Engine, until

PATIENT = """
import faulthandler
from multiworker.worker import upkeep
upkeep.SHORTEST_INTERVAL = upkeep.INTERVAL = 0.1
faulthandler.dump_traceback_later = lambda *_, **__: None
from multiworker.cli import main
main()
"""
"""A child's own watchdog would end it when it wakes, and hide what happens without it."""


def test_a_task_that_ends_after_it_was_given_away_is_not_acknowledged(engine: Engine) -> None:
    # given a child with two tasks, and a short lease
    engine.command = [sys.executable, "-c", PATIENT]
    short = ("--concurrency", "5", "--stuck-timeout", "2", "--grace", "5")
    engine.start(*short, procs=1)
    (zombie,) = engine.until_ready(1)
    engine.push("hold", 1)
    engine.push("hold", 2, gate="second")
    engine.until_noted(2)
    # when it stands still with its parent, until the child of another one has its tasks
    first = engine.parent
    for pid in (first.pid, zombie):
        engine.send(signal.SIGSTOP, pid)
    engine.start(*short, procs=1, wait=False)
    engine.until_line("was silent too long: 2 tasks given back")
    heir = engine.until_noted(4)[-1]["pid"]
    # and the first task ends for the heir, and both go on
    engine.open_gate()
    engine.until_noted(1, "end")
    for pid in (zombie, first.pid):
        engine.send(signal.SIGCONT, pid)
    # then the zombie is told, whatever it has finished meanwhile, and leaves
    engine.until_line(rf"{zombie} fenced: .*its tasks are theirs")
    until(lambda: zombie not in engine.processes(), "its end", engine.text)
    # and the second task is still the heir's alone, which ends it
    assert engine.left_in_redis() == {"in flight": 1}
    assert [entry["pid"] for entry in engine.ledger("end") if entry["n"] == 2] == []
    engine.open_gate("second")
    until(lambda: not engine.left_in_redis(), "the last acknowledgement", engine.text)
    assert [entry["pid"] for entry in engine.ledger("end") if entry["n"] == 2] == [heir]
    # and the books say so: each task was done once
    engine.send(signal.SIGTERM, first.pid)
    assert first.wait(30) == 0
    assert engine.conserved() == {"claimed": 2, "done": 0, "given back": 2, "retried": 0, "dead": 0, "in flight": 0}
    assert engine.stop() == 0
    assert engine.conserved() == {"claimed": 2, "done": 2, "given back": 0, "retried": 0, "dead": 0, "in flight": 0}
    assert engine.runs() == {1: 2, 2: 2}
