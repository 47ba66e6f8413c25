"""Several parents on one host: each is found by its name, and nobody else is taken for one."""

import os
import signal
import struct
import subprocess

from multiworker.worker.words import Total
from tests.system.fix_system import Engine, until


def start_named(engine: Engine, *names: str) -> dict[str, subprocess.Popen[bytes]]:
    """Start a parent of one child for each name."""
    parents = {}
    for name in names:
        engine.start(*(["--name", name] if name else []), procs=1, wait=False)
        parents[name] = engine.parent
    engine.until_line("generation 1 is ready", count=len(names))
    return parents


def test_several_are_told_apart_by_name(engine: Engine) -> None:
    # given three parents, one without a name
    parents = start_named(engine, "blue", "green", "")
    # when none is named, then nothing is done, and they are listed
    for command in (["status"], ["health"], ["reload"], ["stop", "--wait"]):
        answer = engine.call(*command)
        assert (answer.code, answer.out) == (64, "")
        assert answer.err.startswith(f"multiworker {command[0]}: several run, choose one with --name: ")
        assert answer.err.count("\n") == 1
        for name, parent in parents.items():
            assert (f"{name} (pid {parent.pid})" if name else f"pid {parent.pid}") in answer.err
    assert not engine.lines("SIGTERM|SIGHUP")
    # when one is, then it alone is meant
    assert engine.call("health", "--name", "green").out.startswith(f"green (pid {parents['green'].pid})")
    assert engine.call("stop", "--wait", "--name", "green").code == 0
    assert parents["green"].poll() == 0
    engine.environment["MULTIWORKER_NAME"] = "blue"
    assert engine.call("stop", "--wait").code == 0
    assert parents["blue"].poll() == 0
    del engine.environment["MULTIWORKER_NAME"]
    # and one that is alone needs no name
    assert engine.call("health", "--name", "blue") == (
        75,
        "",
        "multiworker health: no instance named blue is running\n",
    )
    assert engine.call("health").code == 0
    assert engine.call("stop", "--wait").code == 0
    assert parents[""].poll() == 0


def test_those_without_a_name_are_told_apart_by_pid(engine: Engine) -> None:
    engine.start(procs=1)
    first = engine.parent
    engine.start(procs=1, wait=False)
    engine.until_line("generation 1 is ready", count=2)
    assert "choose one with --pid" in engine.call("stop").err
    assert engine.call("stop", "--wait", "--pid", str(first.pid)).code == 0
    assert first.poll() == 0
    assert engine.stop() == 0


def test_a_name_is_taken_by_one_parent_at_a_time(engine: Engine) -> None:
    # given a parent with a name
    engine.start("--name", "blue", procs=1)
    first = engine.parent
    # when another one wants the same name, then it is refused
    engine.start("--name", "blue", wait=False)
    assert engine.exit_code() == 75
    engine.until_line(rf"already running: .*/blue\.lock is locked by process {first.pid}, which is running")
    # and the first one goes on, and leaves nothing behind
    assert engine.call("health", "--name", "blue").code == 0
    assert engine.call("stop", "--wait", "--name", "blue").code == 0
    assert first.wait() == 0
    assert not list((engine.directory / "runtime").iterdir())


def test_a_killed_parent_leaves_its_name_to_the_next_one_at_once(engine: Engine) -> None:
    # given a killed parent, whose child still runs a task
    engine.start("--name", "blue", procs=1)
    engine.push("hold", 1)
    engine.until_noted(1)
    engine.send(signal.SIGKILL)
    engine.exit_code()
    # when another one starts, then it gets the name, and is the one that is meant
    engine.start("--name", "blue", procs=1, wait=False)
    engine.until_line("generation 1 is ready", count=2)
    assert engine.call("health", "--name", "blue").out.startswith(f"blue (pid {engine.pid})")
    engine.open_gate()
    assert engine.stop() == 0


def test_who_has_the_pid_of_a_parent_that_is_gone_is_left_alone(engine: Engine) -> None:
    # given what a killed parent has left, and a stranger who has its pid now
    engine.start(procs=1)
    engine.send(signal.SIGKILL)
    engine.exit_code()
    until(lambda: not engine.processes(), "the end of all processes", engine.text)
    stranger = subprocess.Popen(["sleep", "1000"])
    try:
        (page,) = (engine.directory / "runtime").glob("*.board")
        with page.open("r+b") as words:
            words.seek(8 * Total.PARENT)
            words.write(struct.pack("=Q", stranger.pid))
        page.rename(page.with_name(f"unnamed.{stranger.pid}.board"))
        # then nobody takes it for a parent
        for command in ("stop", "reload", "health"):
            assert engine.call(command).code == 75
        assert engine.call("status").code == 75
        assert stranger.poll() is None
        # and the next parent removes the page
        engine.start(procs=1)
        assert [path.name for path in page.parent.glob("*.board")] == [f"unnamed.{engine.pid}.board"]
        assert engine.stop() == 0
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_page_that_names_somebody_elses_process_is_none(engine: Engine) -> None:
    # given a page whose owner is not the one whom its process belongs to
    engine.start(procs=1)
    if os.getuid() == 0:
        (page,) = (engine.directory / "runtime").glob("*.board")
        os.chown(page, 65534, 65534)
        # then its process is not touched
        assert engine.call("stop", "--wait").code == 75
        os.chown(page, 0, 0)
    assert engine.call("stop", "--wait").code == 0
    assert engine.finish() == 0


def test_stop_returns_when_all_are_gone(engine: Engine) -> None:
    # given a parent whose child runs a task
    engine.start(procs=1)
    engine.push("hold", 1)
    engine.until_noted(1)
    # when it is told to stop, then the command waits for the task
    stopping = engine.begin("stop", "--wait")
    engine.until_line("SIGTERM from pid")
    assert stopping.poll() is None
    # and without --wait for nothing
    assert engine.call("stop").out == f"pid {engine.pid} has been told to stop\n"
    # and when the task has ended, it returns
    engine.open_gate()
    with stopping:
        assert stopping.communicate() == (f"pid {engine.pid} has stopped\n", "")
    assert stopping.returncode == 0
    assert engine.processes() == []
    assert engine.finish() == 0


def test_stop_also_waits_for_the_children_of_a_parent_that_is_killed_meanwhile(engine: Engine) -> None:
    engine.start(procs=1)
    engine.push("hold", 1)
    engine.until_noted(1)
    stopping = engine.begin("stop", "--wait")
    engine.until_line("SIGTERM from pid")
    engine.send(signal.SIGKILL)
    engine.exit_code()
    assert len(engine.processes()) == 1
    engine.call("status")  # for as long as this takes, the other command has known of the parent's end
    assert stopping.poll() is None
    engine.open_gate()
    with stopping:
        stopping.communicate()
    assert (stopping.returncode, engine.processes()) == (0, [])
