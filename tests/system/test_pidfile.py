"""--pidfile: one parent at a time, and never a stale file in the way."""

import signal

from tests.system.fix_system import Engine


def test_the_file_names_the_parent_and_goes_with_it(engine: Engine) -> None:
    engine.start("--pidfile", "pid")
    assert (engine.directory / "pid").read_text() == f"{engine.pid}\n"
    assert engine.stop() == 0
    assert not (engine.directory / "pid").exists()


def test_a_second_parent_is_refused_and_does_no_harm(engine: Engine) -> None:
    # given a parent with a pid file
    engine.start("--pidfile", "pid", procs=1)
    first = engine.parent
    # when another wants the same file
    engine.start("--pidfile", "pid", wait=False)
    # then it leaves with a line that names the first, whose file stays
    assert engine.exit_code() == 75
    engine.until_line(f"already running: pid is locked by process {first.pid}, which is running")
    assert (engine.directory / "pid").read_text() == f"{first.pid}\n"
    engine.send(signal.SIGTERM, first.pid)
    assert first.wait() == 0


def test_a_file_that_a_killed_parent_left_is_taken_over_while_its_children_finish(engine: Engine) -> None:
    # given a killed parent, whose child still runs a task
    engine.start("--pidfile", "pid", procs=1)
    engine.push("hold", 1)
    engine.until_noted(1)
    engine.send(signal.SIGKILL)
    engine.exit_code()
    # when another starts
    engine.start("--pidfile", "pid", procs=1, wait=False)
    # then it gets the file at once
    engine.until_line("generation 1 is ready", count=2)
    assert (engine.directory / "pid").read_text() == f"{engine.pid}\n"
    # and leaves the task to the child that still has it
    engine.open_gate()
    engine.until_noted(1, "end")
    assert engine.stop() == 0
    assert engine.runs() == {1: 1}
    assert not engine.left_in_redis()


def test_a_file_with_somebody_elses_pid_is_no_hindrance(engine: Engine) -> None:
    (engine.directory / "pid").write_text("1\n")
    engine.start("--pidfile", "pid", procs=1)
    assert engine.stop() == 0


def test_a_file_that_cannot_be_written(engine: Engine) -> None:
    engine.start("--pidfile", "no/such/directory/pid", wait=False)
    assert engine.exit_code() == 73
    assert engine.lines("cannot write no/such/directory/pid: No such file or directory")


def test_a_parent_removes_only_its_own_file(engine: Engine) -> None:
    # given a parent whose file was removed, and another that has made one in its place
    engine.start("--pidfile", "pid", procs=1)
    first = engine.parent
    (engine.directory / "pid").unlink()
    engine.start("--pidfile", "pid", procs=1, wait=False)
    engine.until_line("generation 1 is ready", count=2)
    # when the first one leaves
    engine.send(signal.SIGTERM, first.pid)
    assert first.wait() == 0
    # then the other's file stays
    assert (engine.directory / "pid").read_text() == f"{engine.pid}\n"
    assert engine.stop() == 0
