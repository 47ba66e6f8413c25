"""`multiworker health`: red when something is wrong, and green again when it is not."""

import os
import signal
from itertools import pairwise

from multiworker.cli.health import MAX_AGE
from multiworker.worker.words import Word
from tests.fix_redis import RedisServer
from tests.system.fix_system import Answer, Engine, until

HASTY = ("--max-age", "3")


def until_code(engine: Engine, code: int) -> Answer:
    """Wait until health says so."""

    def asked() -> Answer | None:
        answer = engine.call("health", *HASTY)
        return answer if answer.code == code else None

    return until(asked, f"exit code {code}", engine.text)


def test_redis_that_does_not_answer_is_told_of_until_it_does(
    engine_of_its_own: Engine, private_redis: RedisServer
) -> None:
    # given children that work
    engine = engine_of_its_own
    engine.start()
    assert engine.call("health").out == f"pid {engine.pid}: 2 children ready\n"
    # when Redis hangs
    os.kill(private_redis.pid, signal.SIGSTOP)
    try:
        # then that is the reason
        answer = until_code(engine, 69)
        assert "no answer from Redis for " in answer.err
        assert (answer.out, answer.err.count("\n")) == ("", 1)
    finally:
        os.kill(private_redis.pid, signal.SIGCONT)
    # and all is well when it goes on
    until_code(engine, 0)
    # and the same with a server that is gone
    private_redis.stop()
    until_code(engine, 69)
    private_redis.start()
    until_code(engine, 0)
    assert engine.stop() == 0


def test_redis_that_is_not_there_at_the_start_is_the_reason(
    engine_of_its_own: Engine, private_redis: RedisServer
) -> None:
    engine = engine_of_its_own
    private_redis.stop()
    engine.start(wait=False)
    engine.until_line("waiting for Redis")
    assert "0 of 2 children are ready, others wait for Redis" in until_code(engine, 69).err
    private_redis.start()
    until_code(engine, 0)
    assert engine.stop() == 0


def test_a_child_that_stands_still_is_told_of_until_it_goes_on(engine: Engine) -> None:
    engine.start()
    victim = engine.ready()[0]
    engine.send(signal.SIGSTOP, victim)
    assert f"(pid {victim}): its event loop has not turned for " in until_code(engine, 70).err
    engine.send(signal.SIGCONT, victim)
    until_code(engine, 0)
    assert engine.stop() == 0


def test_a_parent_that_stands_still_or_stops_is_not_well(engine: Engine) -> None:
    engine.start(procs=1)
    engine.send(signal.SIGSTOP)
    assert "the parent has not looked after its children for " in until_code(engine, 70).err
    engine.send(signal.SIGCONT)
    until_code(engine, 0)
    engine.push("hold", 1)
    engine.until_noted(1)
    engine.send(signal.SIGTERM)
    assert "it is stopping" in until_code(engine, 70).err
    engine.open_gate()
    assert engine.finish() == 0


def test_a_reload_is_no_illness(engine: Engine) -> None:
    # given settings that are to change the number of children
    config = engine.directory / "config.toml"
    config.write_text("procs = 2\n")
    engine.start("--config", "config.toml", procs="2")
    config.write_text("procs = 4\n")
    # when they are loaded, then all is well at every look
    reloading = engine.begin("reload", "--wait")
    looks = 0
    while reloading.poll() is None:
        answer = engine.call("health")
        assert answer.code == 0, answer.err
        looks += 1
    assert looks >= 2
    with reloading:
        reloading.communicate()
    assert reloading.returncode == 0
    assert engine.call("health").out == f"pid {engine.pid}: 4 children ready\n"
    assert engine.stop() == 0


def test_children_ask_redis_often_enough_while_idle_and_while_their_tasks_run_on(engine: Engine) -> None:
    # given one child that waits for a push as long as it may, and one whose permits are all taken
    engine.start("--interval", "10", "--concurrency", "1")
    engine.push("hold", 1)
    engine.until_noted(1)
    for record in engine.records():
        # when each of them asks Redis again
        seen = [record[Word.CONTACT]]
        while len(seen) < 3:
            seen.append(until(lambda: (now := record[Word.CONTACT]) != seen[-1] and now, "contact", engine.text))  # noqa: B023
        # then it does so within half of what health allows, but for the time that this machine takes
        gaps = [(after - before) / 1e9 for before, after in pairwise(seen)]
        assert max(gaps) < MAX_AGE
    assert engine.call("health").code == 0
    engine.open_gate()
    assert engine.stop() == 0
