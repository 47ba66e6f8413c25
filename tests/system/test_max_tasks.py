"""--max-tasks N: exactly N tasks over all children, whatever happens to them."""

import signal

import pytest

from tests.system.fix_system import Engine, until


@pytest.mark.parametrize("most", [1, 50])
def test_exactly_so_many_tasks_run(engine: Engine, most: int) -> None:
    engine.push("quick", *range(200), seconds=0.01)
    engine.start("--max-tasks", str(most), "--concurrency", "4", procs=3, wait=False)
    assert engine.finish() == 0
    assert sum(engine.runs().values()) == sum(engine.runs("end").values()) == most
    assert engine.left_in_redis() == {"queue": 200 - most}
    assert engine.conserved()["done"] == most


def test_retries_and_dead_letters_count(engine: Engine) -> None:
    engine.push("retried", *range(5), times=1)
    engine.push("nobody handles this", 6)
    engine.push("quick", *range(10, 30))
    engine.start("--max-tasks", "30", procs=2, wait=False)
    assert engine.finish() == 0
    numbers = engine.conserved()
    assert numbers["done"] + numbers["retried"] + numbers["dead"] == 30
    assert numbers["claimed"] == 30


def test_the_number_is_exact_although_children_are_killed(engine: Engine) -> None:
    # given more tasks than are to run
    engine.push("quick", *range(400), seconds=0.05)
    engine.start("--max-tasks", "250", "--concurrency", "4", procs=3, wait=False)
    # when children die on the way
    for deaths, part in enumerate((20, 60), 1):
        engine.until_noted(part)
        engine.send(signal.SIGKILL, until(engine.ready, "a child", engine.text)[0])
        engine.until_line("died: signal 9", deaths)
    # then so many have been done, no more and no fewer
    assert engine.finish() == 0
    assert engine.conserved()["done"] == 250
    assert engine.left_in_redis() == {"queue": 150}


def test_it_outlasts_a_reload(engine: Engine) -> None:
    engine.start("--max-tasks", "100", "--concurrency", "4")
    engine.push("quick", *range(60), seconds=0.01)
    engine.until_noted(30)
    engine.send(signal.SIGHUP)
    engine.until_line("generation 2 is ready")
    engine.push("quick", *range(60, 200), seconds=0.01)
    assert engine.finish() == 0
    assert engine.conserved()["done"] == 100
    assert sum(engine.runs().values()) == 100
