"""SIGHUP: new code and settings without a gap, and nothing but an error in the log if they are no good."""

import os
import pty
import signal
import subprocess
import time
from functools import partial
from itertools import count

from multiworker.worker.words import Total
from tests.fix_redis import RedisServer
from tests.system.fix_system import QUEUE, Engine, Watch, until
from tests.waiting import PATIENCE, PAUSE


def until_generation(engine: Engine, number: int) -> list[int]:
    """Wait until a generation has taken over from all others."""
    engine.until_line(f"generation {number} is ready")
    return engine.until_ready(2, number)


def test_a_reload_under_load_loses_nothing_runs_nothing_twice_and_leaves_no_gap(engine: Engine) -> None:
    # given children that are busy all the time
    engine.start("--concurrency", "5")
    numbers = count()

    def busy(*, done: bool) -> bool:
        if engine.client.llen(QUEUE) < 100:
            engine.push("quick", *[next(numbers) for _ in range(100)], seconds=0.01)
        return done

    def reloaded(generation: int) -> bool:
        return busy(done=len(engine.ready(generation)) == 2)

    def working(code: str) -> bool:
        return busy(done=engine.ledger("end")[-1]["code"] == code)

    with Watch(engine) as watch:
        for generation, code in ((2, "two is longer"), (3, "three is longer still")):
            before = engine.until_ready(2)
            until(lambda: busy(done=bool(engine.ledger())), "work", engine.text)
            # when the code changes and the parent is told
            engine.write_handlers(("one", code))
            engine.send(signal.SIGHUP)
            until(partial(reloaded, generation), "the reload", engine.text)
            # then others run the new code
            assert not set(until_generation(engine, generation)) & set(before)
            until(partial(working, code), "new code", engine.text)
    until(lambda: not engine.left_in_redis(), "the end of all tasks", engine.text)
    assert engine.stop() == 0
    # and all tasks have run once, and there were always enough to run them
    assert engine.runs() == engine.runs("end") == dict.fromkeys(range(next(numbers)), 1)
    assert watch.lowest >= 2
    assert watch.looks > 100
    assert not engine.lines("WARNING|ERROR")


def test_changed_settings_are_used(engine: Engine) -> None:
    # given settings in a file
    config = engine.directory / "config.toml"
    config.write_text("procs = 2\nconcurrency = 1\n")
    engine.start("--config", "config.toml", procs="2")
    engine.push("hold", *range(6))
    engine.until_noted(2)
    # when they change, and the parent is told
    config.write_text("procs = 3\nconcurrency = 2\n")
    engine.send(signal.SIGHUP)
    # then there are three children with two tasks each
    engine.until_line("generation 2 is ready: 3 children")
    engine.push("hold", *range(6, 10))
    engine.until_noted(2 + 6)
    engine.open_gate()
    engine.until_noted(10, "end")
    engine.until_ready(3, 2)
    assert engine.stop() == 0


def test_settings_that_cannot_be_are_refused(engine: Engine) -> None:
    # given settings in a file
    config = engine.directory / "config.toml"
    config.write_text("procs = 2\n")
    engine.start("--config", "config.toml", procs="2")
    before = engine.until_ready(2)
    # when the file says what cannot be, is no TOML, or is not there
    for number, text in enumerate(("procs = 'many'", "not TOML", ""), 1):
        config.write_text(text) if text else config.unlink()
        engine.send(signal.SIGHUP)
        # then the parent says so, and nothing else changes
        engine.until_line("reload refused, the settings stay as they are: .*config.toml", number)
    assert engine.until_ready(2, 1) == before
    assert engine.stop() == 0


def test_code_that_does_not_import_is_given_up_and_the_old_children_go_on(engine: Engine) -> None:
    # given children that run good code
    engine.start()
    before = engine.until_ready(2)
    # when broken code is to be loaded
    engine.write_handlers(("CODE = ", "raise RuntimeError('broken')\nCODE = "))
    engine.send(signal.SIGHUP)
    # then it is tried three times and no more, and the old children work on
    engine.until_line("reload failed: generation 2 does not boot; the old one stays")
    assert len(engine.lines(r"generation 2\) died: exit code 78")) == 3
    engine.push("quick", 1)
    engine.until_noted(1, "end")
    assert engine.until_ready(2, 1) == before
    # and when the code is good again, it is loaded
    engine.write_handlers(("one", "repaired"))
    engine.send(signal.SIGHUP)
    assert not set(until_generation(engine, 3)) & set(before)
    engine.push("quick", 2)
    assert engine.until_noted(2, "end")[1]["code"] == "repaired"
    assert engine.stop() == 0


def test_code_that_boots_and_then_crashes_is_given_up_and_nobody_leaves_for_it(engine: Engine) -> None:
    # given children that are busy
    engine.start("--concurrency", "4")
    before = engine.until_ready(2)
    engine.push("quick", *range(200), seconds=0.1)
    engine.write_handlers(("CODE = ", "import threading\nthreading.Timer(0.5, os.abort).start()\nCODE = "))
    with Watch(engine) as watch:
        # when code is to be loaded that crashes half a second later, be it that it has run tasks by then
        engine.send(signal.SIGHUP)
        # then it is tried three times and no more, and the old children never left
        engine.until_line("reload failed: generation 2 dies on trial; the old one stays")
    assert watch.lowest >= 2
    assert len(engine.lines(r"generation 2\) died: signal 6")) == 3
    until(lambda: not engine.left_in_redis(), "the end of all tasks", engine.text)
    assert engine.until_ready(2, 1) == before
    assert engine.stop() == 0
    assert set(engine.runs("end")) == set(range(200))


def test_a_child_that_dies_after_a_failed_reload_is_replaced_with_the_settings_that_worked(engine: Engine) -> None:
    # given a reload that failed for what its settings name
    config = engine.directory / "config.toml"
    config.write_text("procs = 2\n")
    engine.start("--config", "config.toml", procs="2")
    (engine.directory / "broken.py").write_text("INSTALLED_APPS = ['no_such_app']\n")
    config.write_text("procs = 3\nsettings = 'broken'\n")
    engine.send(signal.SIGHUP)
    engine.until_line("reload failed")
    # when an old child dies
    victim = engine.until_ready(2, 1)[0]
    engine.kill(victim)
    # then the next one boots, and the number is the old one
    assert victim not in engine.until_ready(2, 1)
    assert engine.stop() == 0


def test_a_reload_while_redis_is_away_waits_for_it(engine_of_its_own: Engine, private_redis: RedisServer) -> None:
    # given children whose Redis is gone
    engine = engine_of_its_own
    engine.start()
    private_redis.stop()
    # when they are to be replaced
    engine.send(signal.SIGHUP)
    engine.until_line("waiting for Redis")
    # then that is no failure, and it is done when Redis is back
    private_redis.start()
    until_generation(engine, 2)
    assert not engine.lines("reload failed")
    assert engine.stop() == 0


def test_many_reloads_at_once_are_few(engine: Engine) -> None:
    # given a parent
    engine.start()
    board = engine.board()
    assert board
    # when it is told to reload all the time
    begun = time.monotonic()
    while board.totals[Total.GENERATION] < 3:
        engine.send(signal.SIGHUP)
        time.sleep(PAUSE)  # else this loop has the processor that the parent needs
        assert time.monotonic() - begun < PATIENCE, engine.text()
    engine.write_handlers(("one", "the last"))
    older = board.totals[Total.GENERATION]
    engine.send(signal.SIGHUP)
    # then it does so no more than once a second, and ends with the last code
    until(lambda: board.totals[Total.GENERATION] > older, "one more reload", engine.text)
    until(lambda: len(engine.ready(board.totals[Total.GENERATION])) == 2, "the last generation", engine.text)
    reloads = board.totals[Total.GENERATION] - 1
    assert reloads <= 2 + (time.monotonic() - begun)
    engine.push("quick", 1)
    assert engine.until_noted(1, "end")[0]["code"] == "the last"
    assert engine.stop() == 0


def test_children_do_not_care_for_what_is_sent_to_everybody(engine: Engine) -> None:
    # given children
    engine.start()
    before = engine.until_ready(2)
    # when signals for the parent reach them, too
    for pid in before:
        engine.send(signal.SIGINT, pid)
        engine.send(signal.SIGHUP, pid)
    # then they work on
    engine.push("quick", *range(20), seconds=0.05)
    engine.until_noted(20, "end")
    assert engine.until_ready(2, 1) == before
    assert engine.stop() == 0


def test_a_hangup_for_everybody_by_name_is_one_reload(engine: Engine) -> None:
    # given children with tasks
    engine.start()
    before = engine.until_ready(2)
    engine.push("hold", 1)
    engine.until_noted(1)
    # when somebody means the parent and tells all processes of that name
    subprocess.run(["pkill", "-HUP", "-s", str(engine.pid), "-f", "multiworker"], check=True)
    engine.open_gate()
    # then it reloads once, and no child has come to harm
    assert not set(until_generation(engine, 2)) & set(before)
    assert engine.runs("end") == {1: 1}
    assert not engine.lines("died|WARNING|ERROR")
    assert engine.stop() == 0
    assert not engine.lines("generation 3")


def test_a_terminal_that_closes_is_a_stop(engine: Engine) -> None:
    # given a parent with a terminal of its own, which runs a task
    master, slave = pty.openpty()
    engine.start(before=f"exec 0<>{os.ttyname(slave)}")
    engine.push("hold", 1)
    engine.until_noted(1)
    # when the terminal closes
    os.close(slave)
    os.close(master)
    # then the parent stops in order
    engine.until_line("SIGHUP from pid 0")
    engine.open_gate()
    assert engine.finish() == 0
    assert engine.runs("end") == {1: 1}


def test_a_terminal_that_closes_is_none_under_nohup(engine: Engine) -> None:
    # given a parent that was started so as to outlive its terminal
    master, slave = pty.openpty()
    engine.start(before=f"trap '' HUP\nexec 0<>{os.ttyname(slave)}")
    # when the terminal closes
    os.close(slave)
    os.close(master)
    # then it goes on, and reloads when it is told to
    engine.until_line("SIGHUP from pid 0")
    engine.send(signal.SIGHUP)
    until_generation(engine, 2)
    assert engine.stop() == 0


def test_changed_code_is_loaded_without_being_asked_for_during_development(engine: Engine) -> None:
    # given
    engine.start("--reload", wait=False)
    until(lambda: len(engine.ready()) == 2, "children", engine.text)

    def save_again() -> list[str]:
        engine.write_handlers(('CODE = "one"', 'CODE = "two"'))
        return engine.lines("SIGHUP from")

    # when a file is saved, again and again as nobody knows when the watch began, then the code in it runs
    until(save_again, "a reload", engine.text)
    engine.until_line(r"generation [2-9] is ready")
    until(lambda: not engine.ready(1), "the last old child to drain", engine.text)
    engine.push("quick", 1)
    assert engine.until_noted(1, "end")[0]["code"] == "two"
    # and what watches leaves with the parent
    assert engine.stop() == 0
