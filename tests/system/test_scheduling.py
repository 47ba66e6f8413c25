"""Whom the kernel lets go first."""

import os

from tests.system.fix_system import Engine, until


def policies(pids: list[int]) -> set[int]:
    return {os.sched_getscheduler(pid) for pid in pids}


def test_children_let_others_go_first_as_long_as_they_have_much_to_do(engine: Engine) -> None:
    engine.start()
    children = engine.until_ready(2)
    assert policies([engine.pid, *children]) == {os.SCHED_OTHER}

    engine.push("quick", *range(20_000))
    until(lambda: policies(children) == {os.SCHED_BATCH}, "full load of both")
    until(lambda: policies(children) == {os.SCHED_OTHER}, "the rest after it")
    assert policies([engine.pid]) == {os.SCHED_OTHER}
