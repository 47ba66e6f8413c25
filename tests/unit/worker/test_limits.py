"""When a child is due for replacement."""

import time

import pytest

from multiworker.worker.host import resident_bytes
from multiworker.worker.ledger import Ledger
from multiworker.worker.limits import Limits
from multiworker.worker.settings import MIB, Settings


def test_without_limits_a_child_lives_for_ever() -> None:
    assert not Limits(Settings()).reached(Ledger(claimed=10**12))


def test_a_child_that_has_claimed_so_many_tasks_is_due_at_most_a_tenth_early() -> None:
    drawn = [Limits(Settings(max_tasks_per_child=1000)) for _ in range(200)]
    assert not any(each.reached(Ledger(claimed=899)) for each in drawn)
    assert all(each.reached(Ledger(claimed=1000)) for each in drawn)
    assert len({next(n for n in range(1001) if each.reached(Ledger(claimed=n))) for each in drawn}) > 10


def test_even_the_smallest_limit_lets_one_task_through() -> None:
    child = Limits(Settings(max_tasks_per_child=1))
    assert not child.reached(Ledger(claimed=0))
    assert child.reached(Ledger(claimed=1))


def test_a_child_is_due_when_it_is_old(monkeypatch: pytest.MonkeyPatch) -> None:
    child = Limits(Settings(max_age_per_child=100))
    born = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: born + 89)
    assert not child.reached(Ledger())
    monkeypatch.setattr(time, "monotonic", lambda: born + 101)
    assert child.reached(Ledger())


def test_a_child_is_due_when_it_has_grown() -> None:
    assert Limits(Settings(max_memory_per_child=MIB)).reached(Ledger())
    grown = resident_bytes() + 64 * MIB
    child = Limits(Settings(max_memory_per_child=int(grown / 0.9) + 1))
    assert not child.reached(Ledger())
    ballast = bytearray(b"x") * (160 * MIB)
    assert child.reached(Ledger())
    assert ballast
