"""Starting, and working: on Redis that comes late, goes and comes back, and with nothing to do."""

import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from multiworker.supervisor.cores import core_count
from tests.fix_redis import RedisServer
from tests.system.fix_system import QUEUE, Engine, until


@contextmanager
def monitored(engine: Engine) -> Iterator[list[dict[str, Any]]]:
    """Collect what clients send to Redis while the block runs; not what scripts do."""
    seen: list[dict[str, Any]] = []
    with engine.client.monitor() as monitor:

        def listen() -> None:
            while not seen or "END" not in seen[-1]["command"]:
                command = monitor.next_command()
                if command["client_type"] != "lua":
                    seen.append(command)

        listener = threading.Thread(target=listen)
        listener.start()
        try:
            yield seen
        finally:
            engine.client.echo("END")
            listener.join()


def until_idle(engine: Engine, count: int) -> None:
    """Wait until so many children wait for a push."""
    until(lambda: engine.client.info("clients")["blocked_clients"] == count, f"{count} idle children", engine.text)


def test_all_children_work(engine: Engine) -> None:
    engine.start("--concurrency", "2", procs=3)
    children = engine.until_ready(3)
    engine.push("hold", *range(6))
    assert {entry["pid"] for entry in engine.until_noted(6)} == set(children)
    engine.open_gate()
    engine.until_noted(6, "end")
    assert engine.stop() == 0


@pytest.mark.parametrize("options", [[], ["--preload"]], ids=["", "preload"])
def test_garbage_is_collected_where_tasks_run(engine: Engine, options: list[str]) -> None:
    engine.write_handlers(('"code": CODE', '"code": __import__("gc").isenabled()'))
    engine.start(*options, procs=1)
    engine.push("quick", 1)
    assert engine.until_noted(1, "end")[0]["code"] is True
    assert engine.stop() == 0


def test_by_default_every_usable_core_has_a_child(engine: Engine) -> None:
    engine.start(procs=str(core_count()))
    assert engine.lines(f"parent of {core_count()} children")
    assert engine.stop() == 0


def test_children_are_pinned_to_different_cores(engine: Engine) -> None:
    cores = os.sched_getaffinity(0)
    if len(cores) < 2:
        pytest.skip("one core is all there is")
    engine.start("--pin")
    pinned = [os.sched_getaffinity(pid) for pid in engine.until_ready(2)]
    assert [len(one) for one in pinned] == [1, 1]
    assert set.union(*pinned) <= cores
    assert pinned[0] != pinned[1]
    assert os.sched_getaffinity(engine.pid) == cores
    assert engine.stop() == 0


def test_a_start_waits_for_redis_and_says_so(engine_of_its_own: Engine, private_redis: RedisServer) -> None:
    # given no Redis
    engine = engine_of_its_own
    private_redis.stop()
    # when a parent starts
    engine.start(wait=False)
    # then it says what it waits for, and goes on as soon as that is there
    engine.until_line("waiting for Redis: Redis at unix")
    private_redis.start()
    engine.until_ready(2)
    engine.push("quick", 1)
    engine.until_noted(1, "end")
    assert engine.stop() == 0


@pytest.mark.parametrize("crash", [False, True], ids=["stopped", "killed"])
def test_tasks_outlive_an_outage_of_redis(lasting_engine: Engine, lasting_redis: RedisServer, *, crash: bool) -> None:
    # given children with tasks
    engine = lasting_engine
    engine.start("--concurrency", "3")
    children = engine.until_ready(2)
    engine.push("hold", *range(8))
    engine.until_noted(6)
    # when Redis goes, the tasks end, and Redis comes back
    lasting_redis.kill() if crash else lasting_redis.stop()
    engine.open_gate()
    engine.until_noted(6, "end")
    engine.until_line("still no Redis")
    lasting_redis.start()
    # then they are acknowledged, the rest runs, all by the same children, and nothing has run twice
    engine.until_noted(8, "end")
    until(lambda: not engine.left_in_redis(), "the last acknowledgement", engine.text)
    assert engine.until_ready(2) == children
    assert engine.stop() == 0
    assert engine.runs() == engine.runs("end") == dict.fromkeys(range(8), 1)
    assert engine.conserved()["done"] == 8


def test_a_push_wakes_an_idle_child_at_once(engine: Engine) -> None:
    # given idle children that look again by themselves only after 10 s
    engine.start("--interval", "10")
    # when tasks are pushed one after the other
    with monitored(engine) as commands:
        for n in range(8):
            until_idle(engine, 2)
            engine.push("quick", n)
            engine.until_noted(n + 1, "end")
    # then all of them start before one wait could have been over
    pushes = [command["time"] for command in commands if command["command"].startswith("LPUSH")]
    assert len(pushes) == 8
    assert pushes[-1] - pushes[0] < 10
    assert engine.stop() == 0


def test_an_idle_child_leaves_redis_alone(engine: Engine) -> None:
    # given one idle child
    engine.start(procs=1)
    until_idle(engine, 1)
    # when it has waited for a push a few times
    with monitored(engine) as commands:
        until(lambda: len([1 for one in commands if one["command"].startswith("BLMOVE")]) > 5, "waits", engine.text)
    # then it has sent no more than three commands a second, by the server's clock
    waits = [number for number, one in enumerate(commands) if one["command"].startswith("BLMOVE")]
    window = commands[waits[0] : waits[-1]]
    assert len(window) <= 3 * (commands[waits[-1]]["time"] - window[0]["time"])
    assert engine.stop() == 0


def test_what_redis_cli_pushes_runs(engine: Engine, redis_server: RedisServer) -> None:
    engine.start(procs=1)
    task = json.dumps({"type": "quick", "data": {"n": 7}})
    subprocess.run(["redis-cli", "-s", str(redis_server.socket), "LPUSH", QUEUE, task], check=True, capture_output=True)
    assert engine.until_noted(1, "end")[0]["n"] == 7
    assert engine.stop(signal.SIGINT) == 0


def test_nothing_in_it_is_deprecated(engine: Engine) -> None:
    # given warnings that are errors, but for one that is shown, because os.fork() hides it then: of forks with threads
    engine.environment["PYTHONWARNINGS"] = "error::DeprecationWarning,always:This process:DeprecationWarning"
    # when a parent starts, works, replaces a child, reloads and stops
    engine.start()
    engine.kill(engine.until_ready(2)[0])
    engine.until_ready(2)
    engine.push("quick", *range(10))
    engine.until_noted(10, "end")
    assert engine.call("reload", "--wait").code == 0
    assert engine.stop() == 0
    # then there is no such warning
    assert not engine.lines("Warning|exit code [1-9]")
