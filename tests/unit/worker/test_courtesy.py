"""When a child has other programs go first. Each test has a thread of its own, as the kernel's policy is a thread's."""

import functools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from multiworker.worker.courtesy import STREAK, Courtesy


def in_a_thread(test: Callable[..., None]) -> Callable[..., None]:
    """Run a test in a thread that ends with it."""

    @functools.wraps(test)
    def run(*arguments: object, **named: object) -> None:
        with ThreadPoolExecutor(1) as threads:
            threads.submit(test, *arguments, **named).result()

    return run


def load(courtesy: Courtesy, rounds: int) -> int:
    for _ in range(rounds):
        courtesy.busy()
    return os.sched_getscheduler(0)


@in_a_thread
def test_under_full_load_others_go_first_until_it_rests() -> None:
    courtesy = Courtesy()
    for _ in range(2):
        assert load(courtesy, STREAK - 1) == os.SCHED_OTHER
        assert load(courtesy, 1) == os.SCHED_BATCH
        assert load(courtesy, 2 * STREAK) == os.SCHED_BATCH
        courtesy.rest()
        assert os.sched_getscheduler(0) == os.SCHED_OTHER


@in_a_thread
def test_rounds_with_rests_in_between_are_no_full_load() -> None:
    courtesy = Courtesy()
    for _ in range(3):
        assert load(courtesy, STREAK - 1) == os.SCHED_OTHER
        courtesy.rest()


@pytest.mark.parametrize("chosen", [os.SCHED_BATCH, os.SCHED_IDLE], ids=["batch", "idle"])
@in_a_thread
def test_what_the_operator_has_chosen_stays(chosen: int) -> None:
    os.sched_setscheduler(0, chosen, os.sched_param(0))
    courtesy = Courtesy()
    assert load(courtesy, 2 * STREAK) == chosen
    courtesy.rest()
    assert os.sched_getscheduler(0) == chosen


@in_a_thread
def test_a_system_without_policies_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: int) -> int:
        raise OSError(38, "Function not implemented")

    with monkeypatch.context() as patch:
        patch.setattr(os, "sched_getscheduler", missing)
        courtesy = Courtesy()
    assert load(courtesy, STREAK) == os.SCHED_OTHER
