"""SIGUSR1: take nothing more, finish what runs, until it comes again."""

import signal

from tests.system.fix_system import Engine, until


def test_quiet_children_finish_what_they_have_and_take_nothing(engine: Engine) -> None:
    # given a child with a task
    engine.start()
    engine.push("hold", 1)
    (entry,) = engine.until_noted(1)
    # when the parent is told to be quiet
    engine.send(signal.SIGUSR1)
    engine.until_line("quiet: takes nothing more", count=2)
    engine.push("quick", *range(10, 20))
    # then the task goes on to its end, and no other starts, not even in a child that is new
    engine.open_gate()
    engine.until_noted(1, "end")
    until(lambda: engine.left_in_redis() == {"queue": 10}, "its acknowledgement", engine.text)
    engine.send(signal.SIGKILL, entry["pid"])
    engine.until_line("died: signal 9")
    engine.until_ready(2)
    engine.until_line("quiet: takes nothing more", count=3)
    assert engine.runs() == {1: 1}
    assert engine.left_in_redis() == {"queue": 10}
    # and when it is told again, they run
    engine.send(signal.SIGUSR1)
    engine.until_noted(11, "end")
    assert engine.stop() == 0
