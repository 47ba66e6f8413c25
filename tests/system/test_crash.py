"""What happens when children die: they are replaced, and no task of theirs is lost or pays for another's crash."""

import os
import signal
import sys
from pathlib import Path

import pytest

from multiworker.worker.words import Word
from tests.system.fix_system import Engine, system_processes, until

STRANGER = """
import os, pathlib, subprocess
os.setpgid(0, 0)
left = subprocess.Popen(["sleep", "1000"])
pathlib.Path("making").write_text(f"{os.getpid()} {left.pid}")
pathlib.Path("making").rename("pids")
os._exit(78)
"""


def test_a_killed_child_is_replaced_and_its_tasks_run_again(engine: Engine) -> None:
    # given three children that hold tasks
    engine.start("--concurrency", "4", procs=3)
    before = engine.until_ready(3)
    engine.push("hold", *range(8))
    victim = engine.until_noted(8)[0]["pid"]
    lost = {entry["n"] for entry in engine.ledger() if entry["pid"] == victim}
    # when one of them is killed
    engine.send(signal.SIGKILL, victim)
    # then the log names it and the signal, another takes its place, and its siblings live on
    engine.until_line(rf"child \d \(pid {victim}, generation 1\) died: signal 9 \(SIGKILL\)")
    after = engine.until_ready(3)
    assert set(before) - set(after) == {victim}
    # and its tasks, only they, run again on others
    again = engine.until_noted(8 + len(lost))[8:]
    assert {entry["n"] for entry in again} == lost
    assert victim not in {entry["pid"] for entry in again}
    engine.open_gate()
    engine.until_noted(8, "end")
    assert engine.stop() == 0
    assert engine.runs("end") == dict.fromkeys(range(8), 1)
    expected = {"claimed": 8 + len(lost), "done": 8, "given back": len(lost), "retried": 0, "dead": 0, "in flight": 0}
    assert engine.conserved() == expected
    assert not engine.left_in_redis()


SELDOM = """
from multiworker.worker import upkeep
upkeep.INTERVAL = 1e6
from multiworker.cli import main
main()
"""


def test_a_sibling_gives_tasks_back_as_soon_as_it_is_told(engine: Engine) -> None:
    # given children that do not look after others by themselves, and whose successors would not boot
    engine.command = [sys.executable, "-c", SELDOM]
    engine.start()
    engine.push("hold", *range(4))
    victim = engine.until_noted(4)[0]["pid"]
    lost = {entry["n"] for entry in engine.ledger() if entry["pid"] == victim}
    engine.write_handlers(("CODE = ", "raise RuntimeError('broken')\nCODE = "))
    # when one of them is killed
    engine.kill(victim)
    # then the other one, told by the parent, gives its tasks back and runs them
    assert {entry["n"] for entry in engine.until_noted(4 + len(lost))[4:]} == lost
    engine.open_gate()
    engine.until_noted(4, "end")
    assert engine.stop() == 0
    assert engine.conserved()["given back"] == len(lost)


def test_all_children_killed_at_once_come_back(engine: Engine) -> None:
    # given two children that hold tasks
    engine.start("--concurrency", "3")
    before = engine.until_ready(2)
    engine.push("hold", *range(6))
    engine.until_noted(6)
    # when both are killed
    for pid in before:
        engine.send(signal.SIGKILL, pid)
    # then two others run everything again
    engine.until_noted(12)
    assert not set(before) & set(engine.until_ready(2))
    engine.open_gate()
    engine.until_noted(6, "end")
    assert engine.stop() == 0
    assert engine.runs() == dict.fromkeys(range(6), 2)
    assert engine.conserved()["given back"] == 6
    assert not engine.dead_letters()


def test_children_that_redis_has_forgotten_leave_and_are_replaced(engine: Engine) -> None:
    # given children with tasks, and a short lease, which they renew often
    engine.start("--concurrency", "2", "--stuck-timeout", "4")
    before = engine.until_ready(2)
    engine.push("hold", *range(3))
    engine.until_noted(3)
    # when Redis loses its data, and new tasks come
    engine.client.flushall()
    engine.push("quick", *range(10, 20))
    # then others run these
    engine.until_line("fenced: others were told that this worker is dead", count=2)
    engine.until_noted(10, "end")
    assert not set(before) & set(engine.until_ready(2))
    assert engine.stop() == 0
    assert engine.runs("end") == dict.fromkeys(range(10, 20), 1)


def test_the_parent_keeps_nothing_of_the_dead(engine: Engine) -> None:
    def possessions() -> tuple[int, str]:
        process = Path("/proc", str(engine.pid))
        (threads,) = [line for line in (process / "status").read_text().splitlines() if line.startswith("Threads")]
        return len(list((process / "fd").iterdir())), threads

    # given a parent
    engine.start("--pidfile", "pid", procs=1)
    before = possessions()
    # when one child after the other dies, and the last is replaced by a reload
    for n in range(5):
        (child,) = engine.until_ready(1)
        engine.push("quick", n)
        engine.until_noted(n + 1, "end")
        until(lambda: sum(record[Word.DONE] for record in engine.records()), "the acknowledgement", engine.text)
        engine.kill(child)
    engine.until_ready(1)
    engine.send(signal.SIGHUP)
    engine.until_line("generation 2 is ready")
    engine.until_ready(1, 2)
    # then it has the files and the one thread that it had, and nobody is left to bury
    until(lambda: possessions() == before, "what it had before, as the old template goes", engine.text)
    assert before[1].split() == ["Threads:", "1"]
    until(lambda: all(one.is_alive for one in system_processes() if one.parent == engine.pid), "burials", engine.text)
    assert engine.stop() == 0


@pytest.mark.parametrize(
    ("ending", "named"),
    [({"signal": signal.SIGKILL}, "signal 9"), ({"exit": 3}, "exit code 3"), ({"exit": 0}, "exit code 0")],
)
def test_only_a_task_that_kills_its_process_is_dead_lettered(
    engine: Engine, ending: dict[str, int], named: str
) -> None:
    # given good tasks, and among them one that ends its process
    engine.push("quick", *range(100, 140), seconds=0.05)
    engine.push("die", 1, **ending)
    engine.push("quick", *range(200, 240), seconds=0.05)
    # when they run
    engine.start("--burst", "--concurrency", "10", procs=3, wait=False)
    assert engine.finish() == 0
    # then every good one has ended, and the bad one tells how its process died
    assert set(engine.runs("end")) == {*range(100, 140), *range(200, 240)}
    (letter,) = engine.dead_letters()
    assert letter["reason"] == "crashed"
    assert named in letter["detail"]
    assert '"n": 1}' in letter["payload"] or '"n": 1,' in letter["payload"]
    # and it ran five times: twice in company, three times alone
    assert engine.runs()[1] == 5
    assert len(engine.lines(r"died: " + named)) == 5


def test_what_a_dead_child_started_is_ended(engine: Engine) -> None:
    # given a task that has started a program
    engine.start()
    engine.push("spawn", 1)
    (entry,) = engine.until_noted(1, "spawned")
    (program,) = [one.pid for one in system_processes() if one.parent == entry["pid"]]
    # when its child is killed
    engine.send(signal.SIGKILL, entry["pid"])
    # then the program is gone, too
    until(lambda: program not in engine.processes(), "the program's end", engine.text)
    # and nothing that the second run has started outlives its child either
    engine.open_gate()
    engine.until_noted(1, "end")
    assert engine.stop() == 0


def test_a_child_of_somebody_else_is_reaped_and_nothing_more(engine: Engine) -> None:
    # given a parent that has inherited a process, which leads a group of its own
    (engine.directory / "stranger.py").write_text(STRANGER)
    engine.start(before=f"{sys.executable} stranger.py &", wait=False)
    told = engine.directory / "pids"
    until(told.exists, "the stranger", engine.text)
    leader, member = map(int, told.read_text().split())
    # when that process has ended, with an exit code that would mean something from a child
    until(lambda: leader not in {one.pid for one in system_processes()}, "its burial", engine.text)
    # then what it left behind lives on, and so do the children
    assert member in engine.processes()
    engine.send(signal.SIGKILL, member)
    engine.until_ready(2)
    assert engine.stop() == 0


def test_a_child_whose_output_cannot_be_written_ends_all_the_same(engine: Engine) -> None:
    # given a parent whose standard output nobody reads any more
    reader, writer = os.pipe()
    engine.start("--pidfile", "pid", stdout=writer, procs=1)
    os.close(writer)
    os.close(reader)
    # when a child that has printed something leaves
    engine.push("print", 1)
    (entry,) = engine.until_noted(1, "end")
    engine.send(signal.SIGTERM, entry["pid"])
    # then it is gone, and the parent is the only one
    until(lambda: entry["pid"] not in engine.processes(), "the child's end", engine.text)
    engine.until_ready(1)
    assert not engine.lines("cannot fork")
    assert (engine.directory / "pid").read_text() == f"{engine.pid}\n"
    assert engine.stop() == 0


def test_children_that_die_while_booting_are_forked_again(engine: Engine) -> None:
    # given handlers that kill the process which imports them
    engine.write_handlers(("CODE = ", "os.abort()\nCODE = "))
    # when a parent starts
    engine.start(procs=1, wait=False)
    # then they are forked again and again
    engine.until_line(r"died: signal 6 \(SIGABRT\)", count=4)
    # and a stop is a stop
    assert engine.stop() == 0
