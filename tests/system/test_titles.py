"""What ps shows of the processes."""

import signal

from tests.system.fix_system import Engine, command_line, until


def test_titles_tell_who_is_who(engine: Engine) -> None:
    # given a parent with a name
    engine.start("--name", "blue")
    # then it shows its children, and they their place
    until(lambda: command_line(engine.pid) == "multiworker: parent gen 1 2/2 [blue]", "the title", engine.text)
    titles = [f"multiworker: child {slot} gen 1 [blue]" for slot in (1, 2)]
    assert sorted(map(command_line, engine.until_ready(2))) == titles
    # and after a reload they show the new generation
    engine.send(signal.SIGHUP)
    engine.until_line("generation 2 is ready")
    until(lambda: command_line(engine.pid) == "multiworker: parent gen 2 2/2 [blue]", "the title", engine.text)
    assert sorted(map(command_line, engine.until_ready(2))) == [title.replace("1 [", "2 [") for title in titles]
    assert engine.stop() == 0


def test_a_child_that_drains_says_so(engine: Engine) -> None:
    # given a child that runs a task
    engine.start("--name", "blue", procs=1)
    engine.push("hold", 1)
    engine.until_noted(1)
    (child,) = engine.ready()
    # when it is told to leave
    engine.send(signal.SIGTERM)
    # then its title says so
    expected = "multiworker: child 1 gen 1 draining [blue]"
    until(lambda: command_line(child) == expected, "the title", lambda: command_line(child))
    engine.open_gate()
    assert engine.finish() == 0


def test_without_a_name_titles_have_none(engine: Engine) -> None:
    engine.start(procs=1)
    until(lambda: command_line(engine.pid) == "multiworker: parent gen 1 1/1", "the title", engine.text)
    assert engine.stop() == 0
