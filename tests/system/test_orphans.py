"""A parent that is killed: its children finish what they have and leave; nothing goes on unsupervised."""

import signal

from tests.system.fix_system import Engine, until


def until_alone(engine: Engine) -> None:
    assert engine.exit_code() == -signal.SIGKILL
    until(lambda: not engine.processes(), "the end of all processes", engine.text)


def test_idle_children_leave(engine: Engine) -> None:
    engine.start()
    engine.send(signal.SIGKILL)
    until_alone(engine)
    assert len(engine.lines("the parent is gone")) <= 2


def test_busy_children_finish_their_tasks_take_no_other_and_leave(engine: Engine) -> None:
    # given children with tasks
    engine.start()
    engine.push("hold", *range(4))
    engine.until_noted(4)
    # when their parent is killed, and more tasks come
    engine.send(signal.SIGKILL)
    until(lambda: not engine.ready(), "draining", engine.text)
    engine.push("quick", 100)
    engine.open_gate()
    # then they finish what they have
    until_alone(engine)
    assert engine.runs("end") == dict.fromkeys(range(4), 1)
    assert engine.left_in_redis() == {"queue": 1}


def test_tasks_that_outlast_the_grace_are_given_back_without_a_parent(engine: Engine) -> None:
    engine.start("--grace", "0.2")
    engine.push("hold", *range(4))
    engine.until_noted(4)
    engine.send(signal.SIGKILL)
    until_alone(engine)
    assert engine.left_in_redis() == {"scheduled": 4}


def test_a_booting_child_ends(engine: Engine) -> None:
    engine.write_handlers(("CODE = ", "(HERE / 'importing').touch()\ntime.sleep(1000)\nCODE = "))
    engine.start(wait=False)
    until((engine.directory / "importing").exists, "the import", engine.text)
    engine.send(signal.SIGKILL)
    until_alone(engine)


def test_a_blocked_child_ends_itself_with_its_stacks_in_the_log(engine: Engine) -> None:
    # given a child whose event loop is blocked
    engine.start("--stuck-timeout", "2", procs=1)
    engine.push("block", 1)
    engine.until_noted(1)
    # when nobody is there to end it
    engine.send(signal.SIGKILL)
    # then it does so, and says where it hung
    until_alone(engine)
    assert engine.lines("in do_block")


def test_the_next_start_cleans_up_after_a_killed_parent(engine: Engine) -> None:
    # given what a killed parent leaves behind
    engine.start("--pidfile", "pid")
    engine.send(signal.SIGKILL)
    until_alone(engine)
    assert (engine.directory / "pid").exists()
    # when another starts
    engine.start("--pidfile", "pid")
    # then there is one scoreboard, and the pid file is its
    assert len(list((engine.directory / "runtime").glob("*.board"))) == 1
    assert (engine.directory / "pid").read_text() == f"{engine.pid}\n"
    assert engine.stop() == 0
    assert not list((engine.directory / "runtime").iterdir())
