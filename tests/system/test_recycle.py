"""Children that are due for replacement, or stuck: another is there before they go, and their tasks are safe."""

import signal
import time
from itertools import count

from multiworker.worker.scoreboard import Record
from multiworker.worker.words import Total, Word
from tests.system.fix_system import QUEUE, Engine, Watch, until


def age(record: Record) -> float:
    """Return the seconds since a child's last beat."""
    return time.monotonic() - record[Word.BEAT] / 1e9


def test_a_child_that_has_run_its_tasks_is_replaced_first_and_then_leaves(engine: Engine) -> None:
    # given children that are to be replaced after 20 tasks
    engine.start("--max-tasks-per-child", "20", "--concurrency", "2")
    numbers = count()

    def keep_busy() -> bool:
        if engine.client.llen(QUEUE) < 50:
            engine.push("quick", *[next(numbers) for _ in range(50)], seconds=0.02)
        return len({entry["pid"] for entry in engine.ledger()}) >= 6

    with Watch(engine) as watch:
        # when they run so many that others have to take over several times
        until(keep_busy, "others", engine.text)
        until(lambda: not engine.left_in_redis(), "the end of all tasks", engine.text)
    # then there were always two, and nothing was lost or run twice
    assert watch.lowest >= 2
    engine.until_ready(2)
    assert engine.stop() == 0
    assert engine.runs() == engine.runs("end") == dict.fromkeys(range(next(numbers)), 1)
    assert not engine.lines("died|WARNING")


def test_an_old_child_is_replaced(engine: Engine) -> None:
    engine.start("--max-age-per-child", "1")
    before = engine.until_ready(2)
    with Watch(engine) as watch:
        until(lambda: not set(before) & set(engine.ready()), "younger children", engine.text)
    assert watch.lowest >= 2
    assert engine.stop() == 0


def test_a_child_that_has_grown_is_replaced(engine: Engine) -> None:
    # given a child with little memory
    engine.start("--max-memory-per-child", "400MiB", procs=1)
    before = engine.until_ready(1)
    # when a task makes it grow
    engine.push("grow", 1, bytes=500 * 2**20)
    # then another takes its place
    assert engine.until_noted(1, "end")[0]["pid"] == before[0]
    until(lambda: engine.ready() and engine.ready() != before, "another child", engine.text)
    assert engine.until_ready(1) != before
    assert engine.stop() == 0


def test_a_blocked_event_loop_is_ended_with_its_stacks_in_the_log(engine: Engine) -> None:
    # given a child whose loop is blocked by one task while another waits
    engine.start("--stuck-timeout", "2", procs=2)
    engine.push("hold", 1, gate="never")
    engine.until_noted(1)
    engine.push("block", 2)
    blocked = engine.until_noted(2)[1]["pid"]
    before = engine.until_ready(2)
    # then it is ended, the log says where it hung, and another takes its place
    engine.until_line(rf"pid {blocked}, .* is stuck: its event loop has not turned for .* s, in which it ")
    assert engine.lines(r"in which it was idle: it waits in a blocking call \(\d+ % of a core\); its stacks follow")
    engine.until_line(rf"pid {blocked}, .* died: signal 6 \(SIGABRT\)")
    assert engine.lines(r"h\.py.* in do_block")
    engine.open_gate()
    engine.open_gate("never")
    # and its tasks run again, while its sibling goes on
    until(lambda: set(engine.runs("end")) == {1, 2}, "both tasks", engine.text)
    assert set(before) - set(engine.until_ready(2)) == {blocked}
    assert engine.stop() == 0


def test_a_stopped_child_is_killed(engine: Engine) -> None:
    engine.start("--stuck-timeout", "2", procs=2)
    engine.push("hold", 1)
    (entry,) = engine.until_noted(1)
    engine.send(signal.SIGSTOP, entry["pid"])
    engine.until_line(rf"pid {entry['pid']}, .* died: signal 9 \(SIGKILL\)")
    engine.open_gate()
    engine.until_noted(1, "end")
    engine.until_ready(2)
    assert engine.stop() == 0


def test_an_import_that_hangs_is_ended(engine: Engine) -> None:
    engine.write_handlers(("CODE = ", "time.sleep(1000)\nCODE = "))
    engine.start("--boot-timeout", "1", procs=1, wait=False)
    engine.until_line("is stuck: did not boot within 1 s; its stacks follow")
    engine.until_line(r"died: signal 6 \(SIGABRT\)")
    assert engine.lines(r"h\.py.* in <module>")
    engine.write_handlers()
    engine.until_ready(1)
    assert engine.stop() == 0


def test_a_boot_that_takes_longer_than_a_loop_may_be_stuck_is_none(engine: Engine) -> None:
    # given handlers that hold the GIL all the time while they are imported
    wait = "while not (HERE / 'gate').exists(): pass"
    engine.write_handlers(("CODE = ", f"(HERE / 'importing').touch()\n{wait}\nCODE = "))
    engine.start("--stuck-timeout", "1", procs=1, wait=False)
    until((engine.directory / "importing").exists, "the import", engine.text)
    (record,) = engine.records()
    pid, born = record[Word.PID], record[Word.STARTED] / 1e9
    # when that takes far longer than a loop may be stuck
    until(lambda: time.monotonic() > born + 4, "time", engine.text)
    engine.open_gate()
    # then the child that began is the one that is ready
    assert engine.until_ready(1) == [pid]
    assert not engine.lines("stuck|WARNING|ERROR")
    assert engine.stop() == 0


def test_a_parent_that_was_stopped_for_long_kills_nobody(engine: Engine) -> None:
    # given a parent that is stopped for longer than a loop may be stuck, and children that work
    engine.start("--stuck-timeout", "2")
    before = engine.until_ready(2)
    board = engine.board()
    assert board
    engine.push("hold", 1)
    engine.until_noted(1)
    engine.send(signal.SIGSTOP)
    passed = board.totals[Total.PASSED] / 1e9
    until(lambda: time.monotonic() > passed + 5, "time", engine.text)
    # when it goes on
    engine.send(signal.SIGCONT)
    engine.send(signal.SIGUSR2)
    engine.until_line("SIGUSR2 from")
    # then they are the same, and their tasks have run once
    engine.open_gate()
    engine.push("quick", 2)
    engine.until_noted(2, "end")
    assert engine.until_ready(2) == before
    assert not engine.lines("stuck|died")
    assert engine.stop() == 0
    assert engine.runs() == {1: 1, 2: 1}


def test_old_beats_prove_nothing_when_the_parent_was_stopped_as_well(engine: Engine) -> None:
    # given everybody stopped for longer than a stuck loop may be
    engine.start("--stuck-timeout", "4")
    before = engine.until_ready(2)
    for pid in (engine.pid, *before):
        engine.send(signal.SIGSTOP, pid)
    until(lambda: all(age(record) > 4 for record in engine.records()), "old beats", engine.text)
    # when the parent goes on first
    engine.send(signal.SIGCONT)
    for signals in (1, 2):
        engine.send(signal.SIGUSR2)
        engine.until_line("SIGUSR2 from", signals)
    for pid in before:
        engine.send(signal.SIGCONT, pid)
    # then it does not take the children for stuck
    engine.push("quick", *range(10))
    engine.until_noted(10, "end")
    assert engine.until_ready(2) == before
    assert not engine.lines("stuck")
    assert engine.stop() == 0


def test_a_handler_that_goes_on_after_its_timeout_loses_its_task_and_its_child(engine: Engine) -> None:
    # given a task that cannot be ended, among others
    engine.start("--timeout", "0.2", "--grace", "1", "--max-attempts", "1", procs=1)
    (before,) = engine.until_ready(1)
    engine.push("stubborn", 1)
    engine.until_noted(1)
    # when its timeout and the grace are over, then it has failed, and the child is replaced
    until(engine.dead_letters, "the dead letter", engine.text)
    engine.until_line(rf"pid {before}, .*left: ")
    assert before not in engine.until_ready(1)
    # and others run
    engine.push("quick", 2)
    engine.until_noted(1, "end")
    assert engine.stop() == 0
    (letter,) = engine.dead_letters()
    assert (letter["reason"], letter["attempt"]) == ("attempts exhausted", "1")
    assert not engine.left_in_redis()
