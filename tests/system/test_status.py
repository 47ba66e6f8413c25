"""`multiworker status`: a parent and its children, also when the parent does not answer any more."""

import json
import os
import signal
from typing import Any

from tests.system.fix_system import Engine, until


def told(engine: Engine, *arguments: str, code: int = 0) -> dict[str, Any]:
    """Return what status says, as JSON."""
    answer = engine.call("status", "--json", *arguments)
    assert (answer.code, answer.err) == (code, ""), answer
    found: dict[str, Any] = json.loads(answer.out)
    return found


def test_a_parent_and_its_children_are_shown(engine: Engine) -> None:
    # given a named parent whose children have done tasks and run some
    engine.start("--name", "blue")
    engine.push("quick", *range(20))
    engine.push("hold", *range(20, 23))
    engine.until_noted(20, "end")
    engine.until_noted(23)
    # when somebody asks, then the page has what is going on
    found = until(lambda: (now := told(engine))["tasks"]["done"] == 20 and now, "the tasks", engine.text)
    assert (found["name"], found["pid"], found["state"]) == ("blue", engine.pid, "running")
    assert (found["ready"], found["wanted"], found["generation_wanted"], found["generation_good"]) == (2, 2, 1, 1)
    assert found["tasks"]["in_flight"] == 3
    assert found["last_reload"] is None
    assert [child["pid"] for child in found["children"]] == [
        pid for _, pid in sorted((child["slot"], child["pid"]) for child in found["children"])
    ]
    assert sorted(child["pid"] for child in found["children"]) == engine.until_ready(2)
    for child in found["children"]:
        assert child["state"] == "ready"
        assert child["rss"] > 2**20
        assert child["cpu"] >= 0
        assert 0 <= child["beat_age"] <= child["uptime"] <= found["uptime"]
        assert child["redis_age"] is not None
        assert (child["restarts"], child["last_exit"]) == (0, None)
    # and people see the same
    lines = engine.call("status").out.splitlines()
    assert lines[0].startswith(f"multiworker blue: running, pid {engine.pid}, up ")
    assert lines[0].endswith("generation 1, 2 of 2 children ready")
    assert [line.split()[:4] for line in lines[3:]] == [
        [str(child["slot"]), str(child["pid"]), "1", "ready"] for child in found["children"]
    ]
    engine.open_gate()
    assert engine.stop() == 0


def test_what_ends_in_a_second_is_counted(engine: Engine) -> None:
    engine.start(procs=1)
    engine.push("quick", *range(2000), seconds=0.01)
    until(lambda: told(engine)["tasks_per_second"] > 0, "work", engine.text)
    assert engine.stop() == 0


def test_what_died_in_a_slot_is_remembered(engine: Engine) -> None:
    # given a child that was killed, and replaced
    engine.start()
    victim = told(engine)["children"][1]["pid"]
    engine.kill(victim)
    engine.until_ready(2)
    # then its slot shows that, and the other one nothing
    children = told(engine)["children"]
    assert [child["restarts"] for child in children] == [0, 1]
    assert [child["last_exit"] for child in children] == [None, "signal 9 (SIGKILL)"]
    assert children[1]["pid"] != victim
    # and a child that leaves because it is told to is no restart
    assert engine.call("reload", "--wait").code == 0
    assert [child["restarts"] for child in told(engine)["children"] if child["state"] == "ready"] == [0, 1]
    assert engine.stop() == 0


def test_states_of_parent_and_children(engine: Engine) -> None:
    # given a parent that is quiet
    engine.start(procs=1)
    engine.push("hold", 1)
    engine.until_noted(1)
    engine.send(signal.SIGUSR1)
    until(lambda: told(engine)["state"] == "quiet", "quiet", engine.text)
    # when it is told to stop, then it and its child say so until the task has ended
    engine.send(signal.SIGTERM)
    found = until(lambda: (now := told(engine))["state"] == "stopping" and now, "the stop", engine.text)
    assert [child["state"] for child in found["children"]] == ["draining"]
    engine.open_gate()
    assert engine.finish() == 0


def test_a_parent_that_hangs_is_seen(engine: Engine) -> None:
    # given a parent that does nothing any more
    engine.start(procs=1)
    engine.send(signal.SIGSTOP)
    # then status works, and its passes grow old
    until(lambda: told(engine)["pass_age"] > 1, "an old pass", engine.text)
    found = told(engine)
    assert (found["state"], found["children"][0]["state"]) == ("running", "ready")
    engine.send(signal.SIGCONT)
    until(lambda: told(engine)["pass_age"] < 1, "a new pass", engine.text)
    assert engine.stop() == 0


def test_a_killed_parent_is_told_as_such_while_its_children_drain(engine: Engine) -> None:
    # given a killed parent, one of whose children still runs a task
    engine.start(procs=1)
    engine.push("hold", 1)
    engine.until_noted(1)
    engine.send(signal.SIGKILL)
    engine.exit_code()
    # then status says so
    found = until(lambda: (now := told(engine, code=75))["children"][0]["state"] == "draining" and now, "the drain")
    assert (found["state"], found["tasks"]["in_flight"]) == ("dead", 1)
    answer = engine.call("status")
    assert answer.code == 75
    assert f"the parent, pid {engine.pid}, was killed or crashed; 1 of its children still drain" in answer.out
    # and when the child has gone, too
    engine.open_gate()
    until(lambda: not engine.processes(), "the end of all processes", engine.text)
    found = told(engine, code=75)
    assert "none of its children is left" in engine.call("status").out
    assert found["children"][0]["state"] in {"left", "dead"}


def test_without_a_parent_there_is_one_line(engine: Engine) -> None:
    for command in ("status", "health", "reload", "stop"):
        assert engine.call(command) == (75, "", f"multiworker {command}: no instance is running\n")


def test_a_page_of_another_version_is_told_of(engine: Engine) -> None:
    (engine.directory / "runtime").mkdir()
    (engine.directory / "runtime" / f"unnamed.{os.getpid()}.board").write_bytes(b"\1" * 8192)
    expected = f"multiworker status: no instance is running; pid {os.getpid()} runs another version, use kill\n"
    assert engine.call("status") == (75, "", expected)
