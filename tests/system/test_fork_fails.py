"""A system that refuses to fork: the parent says so, tries again, and gives up if it stays like that."""

import os
import shutil
import subprocess
import sys

import pytest

from tests.system.fix_system import Engine

IMPATIENT = """
from multiworker.supervisor import children, parent, restart
children.STABLE = 0.5
restart.GIVE_UP = parent.GIVE_UP = 1.0
from multiworker.cli import main
main()
"""


MANY = 1000


def alone() -> list[str]:
    """Return what makes a command one of a user of its own, for limits of processes do not hold for root."""
    if os.getuid() != 0 or not shutil.which("setpriv"):
        pytest.skip("only root, with setpriv of util-linux, can become a user that has no other process")
    user = 100_000 + os.getpid()
    see_files = ("--inh-caps=-all,+dac_override", "--ambient-caps=-all,+dac_override")
    return ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", *see_files]


def limit(processes: int) -> list[str]:
    """Return the command that limits processes, which is to be continued."""
    return [*alone(), "prlimit", f"--nproc={processes}:{MANY}"]


def relimit(engine: Engine, processes: int) -> None:
    """Change the limit of a running parent and its template."""
    for pid in (engine.pid, *engine.templates()):
        subprocess.run([*limit(processes), "--pid", str(pid)], check=True)


def test_it_goes_on_as_soon_as_forks_succeed(engine: Engine) -> None:
    # given a parent that may not have any other process
    engine.command = [*limit(1), *engine.command]
    engine.start(wait=False)
    engine.until_line("cannot fork: Resource temporarily unavailable", count=4)
    assert not engine.processes()[1:]
    # when the limit is lifted
    relimit(engine, MANY)
    # then there are children, and nothing but one line for each try was said
    engine.until_ready(2)
    assert all(line.startswith("20") for line in engine.text().splitlines())
    engine.push("quick", 1)
    engine.until_noted(1, "end")
    assert engine.stop() == 0


def test_a_child_that_cannot_be_replaced_is_missed_and_the_others_work_on(engine: Engine) -> None:
    # given children that the limit has let through
    engine.command = [*limit(MANY), sys.executable, "-c", IMPATIENT]
    engine.start()
    victim, other = engine.until_ready(2)
    # when one dies and no other may be forked, for longer than the parent has patience with crashes
    relimit(engine, 1)
    engine.kill(victim)
    engine.until_line("cannot fork", count=5)
    # then the other works on
    engine.push("quick", 1)
    assert engine.until_noted(1, "end")[0]["pid"] == other
    assert engine.parent.poll() is None
    assert engine.stop() == 0


@pytest.mark.parametrize("preload", [False, True])
def test_it_gives_up_if_it_stays_like_that(engine: Engine, *, preload: bool) -> None:
    engine.command = [*limit(1), sys.executable, "-c", IMPATIENT]
    engine.start(*["--preload"] * preload, wait=False)
    assert engine.exit_code() == 71
    assert engine.lines("ERROR .* forks fail, look at the limits for processes and memory: giving up")
