"""--burst: exit 0 when there is nothing left to do, also not later and not elsewhere."""

import signal

from multiworker.supervisor.header import Phase
from multiworker.worker.words import Total, Wish, Word
from tests.system.fix_system import Engine, until


def test_an_empty_queue_ends_at_once(engine: Engine) -> None:
    engine.start("--burst", wait=False)
    assert engine.finish() == 0
    assert engine.conserved()["claimed"] == 0


def test_everything_is_done_before_the_end(engine: Engine) -> None:
    # given plain tasks, tasks that fail and are retried, and tasks for later
    engine.push("quick", *range(200))
    engine.push("retried", *range(200, 210), times=2)
    # when a burst runs
    engine.start("--burst", procs=3, wait=False)
    assert engine.finish() == 0
    # then all of them are done
    assert engine.runs("end") == dict.fromkeys(range(210), 1)
    assert not engine.left_in_redis()
    assert not engine.dead_letters()
    numbers = engine.conserved()
    assert (numbers["claimed"], numbers["done"], numbers["retried"]) == (230, 210, 20)


def test_a_task_that_runs_elsewhere_is_waited_for(engine: Engine) -> None:
    # given a task that another child of the same burst runs for long
    engine.push("hold", 1)
    engine.start("--burst", procs=3, wait=False)
    (entry,) = engine.until_noted(1)
    # when its child dies, while the others have nothing to do
    engine.send(signal.SIGKILL, entry["pid"])
    # then they are still there to run it
    engine.until_noted(2)
    engine.open_gate()
    assert engine.finish() == 0
    assert engine.runs("end") == {1: 1}
    assert not engine.left_in_redis()


def test_a_burst_with_kills_ends_with_everything_done(engine: Engine) -> None:
    # given many tasks
    engine.push("quick", *range(600), seconds=0.05)
    # when children are killed while they run
    engine.start("--burst", "--concurrency", "5", procs=3, wait=False)
    for part in (50, 150, 250):
        engine.until_noted(part)
        victim = until(engine.ready, "a child", engine.text)[0]
        engine.send(signal.SIGKILL, victim)
        engine.until_line(f"pid {victim}, .* died")
    assert engine.finish() == 0
    # then every one has run, and only those again that were in flight at a kill
    assert set(engine.runs("end")) == set(range(600))
    assert sum(engine.runs().values()) <= 600 + engine.conserved()["given back"] + 3 * 5
    assert engine.conserved()["done"] == 600
    assert not engine.left_in_redis()
    assert not engine.dead_letters()


LINGER = """
async def linger():
    try:
        await asyncio.sleep(1000)
    except asyncio.CancelledError:
        while closed({}):
            time.sleep(0.005)
        raise


async def do_quick(data):
    KEPT.append(asyncio.create_task(linger()))
"""


def test_a_child_that_has_found_nothing_left_is_not_replaced_while_it_ends(engine: Engine) -> None:
    # given a child that takes long to end, once it has found that nothing is left
    engine.write_handlers(("async def do_quick(data):\n", f"KEPT = []\n{LINGER}"))
    engine.push("quick", 1)
    engine.start("--burst", procs=1, wait=False)
    board = until(engine.board, "the scoreboard", engine.text)
    until(lambda: Wish.FINISHED in {one[Word.WISH] for one in board.present}, "the end of the work", engine.text)
    # when the parent has looked some times
    for _ in range(4):
        passed = board.totals[Total.PASSED]
        until(lambda: board.totals[Total.PASSED] != passed, "another pass", engine.text)  # noqa: B023
    # then there is no other child, nor has one come and ended it all
    assert len(board.present) == 1
    assert board.totals[Total.PHASE] == Phase.RUNNING
    engine.open_gate()
    assert engine.finish() == 0
