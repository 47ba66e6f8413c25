"""How soon a child is forked again, and when it is time to give up."""

from itertools import pairwise

import pytest

from multiworker.supervisor.restart import BUDGET_WINDOW, CAP, GIVE_UP, JITTER, LEAST_BURST, Patience, Slots

MIDDLE = 0.5
"""The random number that makes no jitter."""


def wait_after(slots: Slots, deaths: int, random: float = MIDDLE) -> float:
    """Let a slot die so often at 100 s, and return how long it waits then."""
    for _ in range(deaths):
        slots.died(1, 100.0, random, useful=False)
    return slots.not_before[1] - 100.0


def test_the_first_death_costs_no_time() -> None:
    assert wait_after(Slots(), 1) == 0


def test_every_further_death_costs_more_up_to_a_cap() -> None:
    waits = [wait_after(Slots(), deaths) for deaths in range(2, 60)]
    assert waits[:3] == pytest.approx([0.1, 0.15, 0.225])
    assert all(later == pytest.approx(min(CAP, earlier * 1.5)) for earlier, later in pairwise(waits))
    assert waits[-1] == wait_after(Slots(), 100_000) == CAP


def test_waits_vary() -> None:
    assert wait_after(Slots(), 50, 0.0) == pytest.approx(CAP * (1 - JITTER))
    assert wait_after(Slots(), 50, 1.0) == pytest.approx(CAP * (1 + JITTER))


def test_a_useful_child_starts_its_slot_afresh() -> None:
    slots = Slots()
    wait_after(slots, 10)
    slots.died(1, 100.0, MIDDLE, useful=True)
    assert slots.not_before[1] == 100.0
    assert wait_after(slots, 1) == 0


def test_slots_do_not_wait_for_each_other() -> None:
    slots = Slots()
    slots.refill(2, 100.0)
    wait_after(slots, 10)
    assert not slots.may_fork(1, 100.0)
    assert slots.may_fork(2, 100.0)
    assert slots.may_fork(1, 100.0 + CAP)


def test_new_code_gets_a_new_chance() -> None:
    slots = Slots()
    slots.refill(2, 100.0)
    wait_after(slots, 10)
    slots.forget()
    assert slots.may_fork(1, 100.0)
    assert wait_after(slots, 1) == 0


def spend(slots: Slots, now: float) -> int:
    """Fork until the budget is used up, and return how often."""
    forks = 0
    while slots.may_fork(1, now):
        slots.forked()
        forks += 1
    return forks


def test_the_budget_stops_a_fork_bomb() -> None:
    slots = Slots()
    slots.refill(4, 100.0)
    total = spend(slots, 100.0)
    assert total == 8
    for tick in range(1, 241):  # a minute of passes
        slots.refill(4, 100.0 + tick / 4)
        total += spend(slots, 100.0 + tick / 4)
    assert total == pytest.approx(8 + 60 / BUDGET_WINDOW * 4, abs=1)
    assert total <= 32


def test_one_child_alone_may_fail_a_few_times_in_a_row() -> None:
    slots = Slots()
    slots.refill(1, 100.0)
    assert spend(slots, 100.0) == LEAST_BURST


def test_the_budget_does_not_grow_for_ever() -> None:
    slots = Slots()
    slots.refill(4, 100.0)
    slots.refill(4, 1e6)
    assert spend(slots, 1e6) == 8


def test_deaths_of_useful_children_and_orderly_ends_cost_nothing() -> None:
    slots = Slots()
    slots.refill(1, 100.0)
    for _ in range(100):
        assert slots.may_fork(1, 100.0)
        slots.forked()
        slots.died(1, 100.0, MIDDLE, useful=True)
        slots.forked()
        slots.left()


def test_patience_ends_with_crashes_and_nothing_else() -> None:
    patience = Patience()
    assert not patience.over(10 * GIVE_UP)
    patience.died(1000.0, useful=False)
    assert not patience.over(1000.0 + GIVE_UP)
    assert patience.over(1000.0 + GIVE_UP + 0.1)


def test_patience_counts_from_the_first_crash_after_things_were_well() -> None:
    patience = Patience()
    patience.died(100.0, useful=False)
    patience.well()
    patience.died(200.0, useful=False)
    patience.died(200.0 + GIVE_UP / 2, useful=False)
    assert not patience.over(200.0 + GIVE_UP)
    assert patience.over(200.0 + GIVE_UP + 0.1)
    patience.well()
    assert not patience.over(1000.0)


def test_kills_of_useful_children_are_never_a_reason_to_give_up() -> None:
    patience = Patience()
    for second in range(1000):
        patience.died(float(second), useful=second % 30 == 0)
        assert not patience.over(float(second))
