"""Stopping: what runs may finish, what does not finish is given back, and nobody waits longer than told."""

import contextlib
import signal

import pytest

from tests.fix_redis import RedisServer
from tests.system.fix_system import PREFIX, Engine, until

LONGER_THAN_ANY_TEST = "300"


def given_back(engine: Engine) -> list[str]:
    """Return the headers (attempt and crashes) of the frames that were given back."""
    frames = engine.client.zrange(PREFIX + "scheduled", 0, -1)
    return [" ".join(frame.partition("\n")[0].split(" ")[1:]) for frame in frames]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_running_tasks_finish_and_no_other_is_taken(engine: Engine, number: signal.Signals) -> None:
    # given tasks that run
    engine.start()
    engine.push("hold", *range(4))
    engine.until_noted(4)
    # when the parent is told to stop, and more tasks come
    engine.send(number)
    until(lambda: not engine.ready(), "draining", engine.text)
    engine.push("quick", 100, 101)
    engine.open_gate()
    # then only the running ones end
    assert engine.finish() == 0
    assert engine.runs("end") == dict.fromkeys(range(4), 1)
    assert engine.left_in_redis() == {"queue": 2}
    assert engine.conserved()["done"] == 4


def test_a_second_term_does_not_cut_the_grace_short(engine: Engine) -> None:
    engine.start(procs=1)
    engine.push("hold", 1)
    engine.until_noted(1)
    engine.send(signal.SIGTERM)
    engine.until_draining(1)
    engine.send(signal.SIGTERM)
    engine.until_line("SIGTERM from", count=2)
    engine.open_gate()
    assert engine.finish() == 0
    assert engine.runs("end") == {1: 1}


def test_what_outlasts_the_grace_is_given_back_and_runs_at_the_next_start(engine: Engine) -> None:
    # given tasks that do not end
    engine.start("--grace", "0.2")
    engine.push("hold", *range(4))
    engine.until_noted(4)
    # when the parent stops
    assert engine.stop() == 0
    # then they are given back as they were: not counted as attempts, nor as crashes
    assert given_back(engine) == ["1 0"] * 4
    assert engine.conserved()["given back"] == 4
    # and the next start runs them
    engine.open_gate()
    engine.start()
    engine.until_noted(4, "end")
    assert [entry["attempt"] for entry in engine.ledger()] == [1] * 8
    assert engine.stop() == 0
    assert not engine.left_in_redis()


@pytest.mark.parametrize("kind", ["stubborn", "thread", "block"])
def test_a_task_that_cannot_be_cancelled_is_given_back(engine: Engine, kind: str) -> None:
    # given a task that ignores cancellation, hangs in a thread, or blocks the event loop
    engine.start("--grace", "0.2")
    engine.push(kind, 1)
    engine.until_noted(1)
    # when the parent stops
    assert engine.stop() == 0
    # then it is given back as it was
    assert given_back(engine) == ["1 0"]
    assert engine.left_in_redis() == {"scheduled": 1}
    assert engine.conserved()["given back"] == 1


@pytest.mark.parametrize(
    "numbers", [(signal.SIGINT, signal.SIGINT), (signal.SIGTERM, signal.SIGINT), (signal.SIGQUIT,)]
)
def test_impatience_ends_everything_at_once(engine: Engine, numbers: tuple[signal.Signals, ...]) -> None:
    # given a task that does not end, and a grace longer than this test may take
    engine.start("--grace", LONGER_THAN_ANY_TEST)
    engine.push("hold", *range(4))
    engine.until_noted(4)
    # when the parent gets a second SIGINT, or SIGQUIT
    for count, number in enumerate(numbers, 1):
        engine.send(number)
        engine.until_line("(SIGINT|SIGQUIT|SIGTERM) from pid", count)
    # then all is over, and the tasks are given back as they were
    assert engine.finish() == 0
    assert given_back(engine) == ["1 0"] * 4
    assert engine.conserved()["given back"] == 4


def test_a_stop_while_redis_is_away_does_not_wait_for_it(engine_of_its_own: Engine, private_redis: RedisServer) -> None:
    # given a task that does not end, and no Redis
    engine = engine_of_its_own
    engine.start("--grace", "0.2")
    engine.push("hold", 1)
    engine.until_noted(1)
    private_redis.stop()
    # when the parent stops
    assert engine.stop() == 0
    # then it says that the task could not be given back, and still has it in its books
    assert engine.lines("tasks of dead children stay until their lease is over")
    assert engine.conserved()["in flight"] == 1


def test_a_stop_while_a_start_waits_for_redis(engine_of_its_own: Engine, private_redis: RedisServer) -> None:
    private_redis.stop()
    engine_of_its_own.start(wait=False)
    engine_of_its_own.until_line("waiting for Redis")
    assert engine_of_its_own.stop() == 0


def test_stop_while_the_children_boot(engine: Engine) -> None:
    # given children whose handlers take for ever to import
    engine.write_handlers(("CODE = ", "(HERE / 'importing').touch()\ntime.sleep(1000)\nCODE = "))
    engine.start("--grace", LONGER_THAN_ANY_TEST, wait=False)
    until((engine.directory / "importing").exists, "the import", engine.text)
    # then a stop does not wait for them
    assert engine.stop() == 0


def test_stop_during_a_reload_forks_nobody_any_more(engine: Engine) -> None:
    # given a reload whose first child is still importing
    engine.start()
    engine.write_handlers(("CODE = ", "(HERE / 'importing').touch()\ntime.sleep(1000)\nCODE = "))
    engine.send(signal.SIGHUP)
    until((engine.directory / "importing").exists, "the import", engine.text)
    # then a stop is carried out
    assert engine.stop() == 0
    assert not engine.lines("generation 2 is ready")


def test_a_stop_that_reaches_everybody_is_a_stop(engine: Engine) -> None:
    # given children with tasks
    engine.start()
    engine.push("hold", *range(4))
    engine.until_noted(4)
    # when the parent and its children are told to stop, as systemd and some shells do
    for pid in sorted(engine.processes()):  # the parent is the eldest
        with contextlib.suppress(ProcessLookupError):  # it has ended the template by then
            engine.send(signal.SIGTERM, pid)
    engine.until_line("SIGTERM from")
    engine.open_gate()
    # then the tasks finish, and nobody is forked or counts as dead
    assert engine.finish() == 0
    assert engine.runs("end") == dict.fromkeys(range(4), 1)
    assert len(engine.lines(r"child \d .* left: exit code 0")) == len(engine.lines(r"child \d ")) == 2


def test_a_child_that_is_told_to_leave_by_somebody_else_is_replaced(engine: Engine) -> None:
    # given a child with a task
    engine.start()
    before = engine.until_ready(2)
    engine.push("hold", 1)
    (entry,) = engine.until_noted(1)
    # when an operator stops that child
    engine.send(signal.SIGTERM, entry["pid"])
    engine.until_draining(1)
    # then it finishes its task while another is already there
    until(lambda: len(engine.ready()) == 2, "a replacement", engine.text)
    engine.open_gate()
    after = engine.until_ready(2)
    assert set(before) - set(after) == {entry["pid"]}
    assert engine.runs("end") == {1: 1}
    assert not engine.lines("died")
    assert engine.stop() == 0
