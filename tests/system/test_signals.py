"""Control signals: each arrives, whenever it is sent, and the log says who sent it."""

import os
import signal
import subprocess
import sys

import pytest

from multiworker.worker.words import State, Word
from tests.system.fix_system import Engine, until

FORKS = """
import logging, os, signal, sys, time
from multiworker.supervisor import process, signals

signals.block()
lost = []
for number in range(200):
    pid = process.fork(lambda: time.sleep(20) or 0)
    os.kill(pid, signal.SIGUSR2)  # ends a process that is not prepared for it
    os.kill(pid, signal.SIGTERM)
    ended = os.waitpid(pid, 0)[1]
    if os.waitstatus_to_exitcode(ended) != -signal.SIGTERM:
        lost.append(number)
print(len(lost), "lost")
"""


def test_a_signal_right_after_the_fork_is_not_lost() -> None:
    done = subprocess.run([sys.executable, "-c", FORKS], capture_output=True, text=True, check=False)
    assert done.stdout == "0 lost\n", done.stderr


@pytest.mark.parametrize("moment", ["no child yet", "IMPORT", "CONNECT", "READY"])
def test_a_stop_at_any_moment_of_the_start(engine: Engine, moment: str) -> None:
    def reached() -> bool:
        states = [State(record[Word.STATE]).name for record in engine.records()]
        return engine.board() is not None if moment == "no child yet" else moment in states

    engine.start(procs=3, wait=False)
    until(reached, moment, engine.text)
    assert engine.stop() == 0


def test_one_more_and_one_fewer_until_the_next_reload(engine: Engine) -> None:
    # given two children
    engine.start()
    before = engine.until_ready(2)
    # when there are to be more
    engine.send(signal.SIGTTIN)
    # then there is one more, and the others stay
    assert set(before) < set(engine.until_ready(3))
    # when there are to be fewer, and fewer
    engine.send(signal.SIGTTOU)
    assert engine.until_ready(2) == before
    engine.send(signal.SIGTTOU)
    (last,) = engine.until_ready(1)
    # then one is the least
    engine.send(signal.SIGTTOU)
    engine.until_line("SIGTTOU from", count=3)
    engine.push("quick", 1)
    assert engine.until_noted(1, "end")[0]["pid"] == last
    # and a reload goes back to what was asked for
    engine.send(signal.SIGHUP)
    engine.until_line("generation 2 is ready: 2 children")
    engine.until_ready(2, 2)
    assert engine.stop() == 0


def test_stacks_on_demand(engine: Engine) -> None:
    # given a child with a task in a thread
    engine.start()
    before = engine.until_ready(2)
    engine.push("thread", 1)
    engine.until_noted(1)
    # when stacks are asked for
    engine.send(signal.SIGUSR2)
    # then every child writes those of all its threads, and lives on
    engine.until_line(r"h\.py.* in in_thread")
    engine.until_line(r"in run_child", count=2)
    engine.open_gate()
    engine.until_noted(1, "end")
    assert engine.until_ready(2) == before
    assert engine.stop() == 0


def test_the_log_says_who_sent_a_signal(engine: Engine) -> None:
    engine.start(procs=1)
    assert engine.stop() == 0
    assert engine.lines(f"SIGTERM from pid {os.getpid()} uid {os.getuid()}")


def test_a_storm_of_signals_does_not_keep_the_parent_from_its_work(engine: Engine) -> None:
    # given a parent that gets more signals than it can count
    engine.start()
    (victim, _) = engine.until_ready(2)
    with subprocess.Popen([sys.executable, "-c", f"import os\nwhile True: os.kill({engine.pid}, 17)"]) as storm:
        try:
            # when a child dies
            engine.kill(victim)
            # then it is replaced all the same
            assert victim not in engine.until_ready(2)
        finally:
            storm.kill()
    assert engine.stop() == 0
