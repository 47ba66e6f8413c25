"""Rows about deaths: of children, of all of them, of the parent, and of loops."""

import signal
import time

from multiworker.worker.words import Post
from tests.chaos.rows.bench import Bench, Measured, after, board_of, boot_time, children
from tests.system.fix_system import system_processes

WEDGE = """
async def do_wedge(data):
    import ctypes
    mark = HERE / f"wedged-{data['n']}"
    if mark.exists():
        return
    mark.touch()
    if data["how"] == "gil":
        ctypes.PyDLL(None).sleep(1000)
    if data["how"] == "stop":
        os.kill(os.getpid(), 19)
    while True:
        pass
"""


def kill_one(bench: Bench) -> Measured:
    """One child is killed, in each slot once."""
    times, right = [], True
    with bench.engine() as engine:
        board = board_of(engine)
        engine.send(signal.SIGTTIN)
        boot = boot_time(board, 5, 1)
        engine.until_ready(5)
        engine.send(signal.SIGTTOU)
        for victim in engine.until_ready(4):
            before = set(engine.until_ready(4))
            engine.send(signal.SIGKILL, victim)
            times.append(after(lambda: len(set(engine.ready()) - {victim}) == 4, "another child"))  # noqa: B023
            named = engine.lines(rf"pid {victim}, .*died: signal 9 \(SIGKILL\)")
            right = right and set(engine.ready()) >= before - {victim} and len(named) == 1
        right = right and [board.slots[n].words[Post.RESTARTS] for n in range(4)] == [1] * 4 and engine.stop() == 0
    said = f"{max(times):.2f} s at most of {len(times)} (boot alone {boot:.2f} s)"
    return Measured(said, right, max(times) <= 0.5 + boot)


def kill_all(bench: Bench) -> Measured:
    """All children are killed at once."""
    with bench.engine(wait=False) as engine:
        boot = boot_time(board_of(engine), 4, 4)
        before = engine.until_ready(4)
        for pid in before:
            engine.send(signal.SIGKILL, pid)
        took = after(lambda: len(set(engine.ready()) - set(before)) == 4, "other children")
        right = engine.stop() == 0
    return Measured(f"{took:.2f} s (first boot of 4 {boot:.2f} s)", right, took <= 1 + boot)


def kill_parent(bench: Bench) -> Measured:
    """The parent is killed; children are idle."""
    with bench.engine() as engine:
        engine.send(signal.SIGKILL)
        took = after(lambda: not children(engine), "the end of all children")
    return Measured(f"{took:.2f} s", right=True, in_time=took <= 0.5)


def kill_parent_of_wedged(bench: Bench) -> Measured:
    """The parent is killed; one child is wedged, one works; another parent starts at once."""
    stuck = bench.take(10, 2)
    options = ("--pidfile", "pid", "--stuck-timeout", str(stuck), "--concurrency", "1")
    with bench.engine(*options, procs=2) as engine:
        engine.push("block", 1, gate="wedge")
        (wedged,) = [entry["pid"] for entry in engine.until_noted(1)]
        engine.push("hold", 2)
        busy = engine.until_noted(2)[1]["pid"]
        engine.kill(engine.pid)
        killed_at = time.monotonic()
        engine.start(*options, procs=2, wait=False)
        engine.until_line("generation 1 is ready", 2)
        after(lambda: wedged not in engine.processes(), "the end of the wedged child")
        gone = time.monotonic() - killed_at
        right = busy in engine.processes()
        engine.open_gate("wedge")
        engine.open_gate()
        finished_at = time.monotonic()
        after(lambda: busy not in engine.processes(), "the end of the busy child")
        left = time.monotonic() - finished_at
        after(lambda: set(engine.runs("end")) == {1, 2}, "both tasks")
        right = right and engine.runs()[2] == 1 and engine.stop() == 0 and not engine.processes()
    said = f"wedged: gone after {gone:.1f} s (stuck-timeout {stuck} s); busy: finished, gone {left:.2f} s later"
    return Measured(said, right, gone <= stuck + 2)


def stuck_loops(bench: Bench) -> Measured:
    """Three loops are stuck: one computes, one holds the GIL, one is stopped."""
    stuck = bench.take(5, 2)
    with bench.engine("--stuck-timeout", str(stuck), "--concurrency", "1", procs=3, code=WEDGE) as engine:
        for n, how in enumerate(("spin", "gil", "stop")):
            engine.push("wedge", n, how=how)
        wedged = {entry["pid"] for entry in engine.until_noted(3)[:3]}
        begun = engine.ledger()[2]["at"]
        after(lambda: len(set(engine.ready()) - wedged) == 3, "other children")
        took = time.monotonic() - begun
        after(lambda: len(engine.runs("end")) == 3, "the tasks again")
        stacks = len(engine.lines(r"h\.py.* in do_wedge"))
        right = len(wedged) == 3 and stacks == 2 and engine.stop() == 0
    said = f"all replaced {took - stuck:.1f} s after the timeout of {stuck} s; stacks of {stacks}"
    return Measured(said, right, took <= stuck + 2)


def left_behind(bench: Bench) -> Measured:
    """A task leaves a program behind, and its child is killed."""
    with bench.engine(procs=2) as engine:
        engine.push("spawn", 1)
        (entry,) = engine.until_noted(1, "spawned")
        (program,) = [one.pid for one in system_processes() if one.parent == entry["pid"]]
        engine.send(signal.SIGKILL, entry["pid"])
        took = after(lambda: program not in engine.processes(), "the program's end")
        engine.open_gate()
        engine.until_noted(1, "end")
        right = engine.stop() == 0
    return Measured(f"{took:.2f} s", right, took <= 1)
