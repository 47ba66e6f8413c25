"""The parent as process 1 of a container, where everything that loses its own parent is given to it."""

import signal
import subprocess

import pytest

from tests.system.fix_system import Engine, Process, system_processes, until

CONTAINER = ("unshare", "--pid", "--fork", "--mount-proc")
STRAYS = 20
STRAY = """#!/bin/sh
while [ ! -e gate ]; do sleep 0.05; done
exit 78
"""


def require_containers() -> None:
    """Skip the test if this machine does not let us have a container."""
    try:
        subprocess.run([*CONTAINER, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"cannot make a process namespace: {error}")


def given_to(engine: Engine) -> list[Process]:
    """Return the processes that belong to process 1, dead ones that nobody has buried included."""
    everybody = system_processes()
    (first,) = [one for one in everybody if one.parent == engine.pid]
    return [one for one in everybody if one.parent == first.pid]


def children_of(engine: Engine) -> list[int]:
    """Return the pids of those that run tasks."""
    return [one.pid for one in given_to(engine) if one.name.startswith("multiworker: ch")]


def test_strays_are_buried_and_mean_nothing(engine: Engine) -> None:
    # given a parent that is process 1 and has inherited others
    require_containers()
    stray = engine.directory / "stray"
    stray.write_text(STRAY)
    stray.chmod(0o755)
    bear = f"for n in $(seq {STRAYS}); do (./stray &); done"
    engine.command = [*CONTAINER, "sh", "-c", f'{bear}\nexec "$@"', "sh", *engine.command]
    engine.start(procs=3, wait=False)
    engine.until_line("generation 1 is ready")
    assert engine.lines(r"INFO +1 parent of 3 children")
    children = children_of(engine)
    assert len(children) == 3
    assert len(given_to(engine)) == STRAYS + len(children) + 1  # and their template
    # when they end, with an exit code that would mean something from a child
    engine.open_gate()
    # then nothing is left of them, and the children work on
    until(lambda: len(given_to(engine)) == len(children) + 1, "their burial", engine.text)
    assert children_of(engine) == children
    assert not engine.lines("ERROR|WARNING")
    # and one that dies is replaced
    engine.send(signal.SIGKILL, children[0])
    engine.until_line("died: signal 9")
    until(lambda: children[0] not in (now := children_of(engine)) and len(now) == 3, "another")
    engine.push("quick", *range(20))
    engine.until_noted(20, "end")
    # and a stop is a stop
    (parent,) = [one.pid for one in system_processes() if one.parent == engine.pid]
    engine.send(signal.SIGTERM, parent)
    assert engine.finish() == 0
