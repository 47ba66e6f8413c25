"""The short form of tests/chaos/kill_children.py: nothing is lost, and nothing runs twice without cause."""

import shutil

import pytest

from tests.chaos.kill_children import Plan, run

NO_HURRY = 60.0
"""Seconds; how soon tasks start again is measured on a quiet machine, not here."""


@pytest.mark.skipif(shutil.which("redis-cli") is None, reason="redis-cli is not on PATH")
def test_killed_children_lose_nothing() -> None:
    # given more tasks than the children can do in a few kills; when one is killed whenever all are ready
    plan = Plan(tasks=3_000, procs=2, concurrency=10, kill_every=0.3, min_ready=2, recovery=NO_HURRY, silence=NO_HURRY)
    lines = run(plan)

    # then each duplicate is explained, all accounts fit, and there was something to explain
    said = {line.name.strip(): line.value for line in lines}
    assert [line for line in lines if line.right is False] == [], lines
    assert int(said["duplicates in flight at a kill"]) > 0, lines
