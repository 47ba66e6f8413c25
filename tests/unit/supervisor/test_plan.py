"""What the parent decides from its table alone."""

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from multiworker.supervisor.plan import Plan, Seat, Stage, quota_grants, reconcile

BOOT, READY, DRAIN = Stage.BOOT, Stage.READY, Stage.DRAIN


def seats(*rows: tuple[int, bool, Stage]) -> list[Seat]:
    """Make seats from slot, stale and stage; the indexes are 101, 102 and so on."""
    return [Seat(100 + number, *row) for number, row in enumerate(rows, 1)]


def plan(table: list[Seat], wanted: int, may_fork: Callable[[int], bool] = lambda _: True) -> Plan:
    return reconcile(table, wanted, may_fork)


def test_a_start_forks_everybody_at_once() -> None:
    assert plan([], 3) == Plan(fork=(1, 2, 3))


def test_nothing_is_done_when_everything_is_as_it_should_be() -> None:
    assert plan(seats((1, False, READY), (2, False, READY)), 2) == Plan()
    assert plan(seats((1, False, READY), (2, False, BOOT)), 2) == Plan()


def test_a_missing_child_is_replaced_while_another_boots() -> None:
    assert plan(seats((1, False, BOOT), (2, False, READY)), 3) == Plan(fork=(3,))


def test_a_slot_that_must_wait_is_passed_over() -> None:
    assert plan([], 3, lambda slot: slot != 2) == Plan(fork=(1, 3))


def test_a_reload_goes_one_by_one_and_the_new_child_comes_first() -> None:
    old = seats((1, True, READY), (2, True, READY))
    assert plan(old, 2) == Plan(fork=(1,))
    assert plan([*old, Seat(201, 1, stale=False, stage=BOOT)], 2) == Plan()
    assert plan([*old, Seat(201, 1, stale=False, stage=READY)], 2) == Plan(fork=(2,), drain=(101,))


def test_a_reload_that_starts_with_too_few_makes_up_for_them_at_once() -> None:
    assert plan(seats((1, True, READY)), 3) == Plan(fork=(1, 2))


def test_children_of_an_old_generation_that_still_boot_are_ended() -> None:
    assert plan(seats((1, True, BOOT), (2, True, READY)), 2) == Plan(fork=(1,), drain=(101,))
    assert plan(seats((1, True, BOOT), (2, True, READY)), 2).drain == (101,)


def test_fewer_children_are_reached_by_the_highest_slots() -> None:
    assert plan(seats((1, False, READY), (2, False, READY), (3, False, READY)), 1) == Plan(drain=(103, 102))
    assert plan(seats((1, False, READY), (2, False, BOOT)), 1) == Plan(drain=(102,))


def test_a_stale_child_goes_before_a_current_one() -> None:
    assert plan(seats((1, False, READY), (2, True, READY), (2, False, READY)), 2) == Plan(drain=(102,))


def test_of_two_stale_children_the_one_that_is_replaced_goes() -> None:
    assert plan(seats((1, True, READY), (2, True, READY), (1, False, READY)), 2).drain == (101,)


def test_draining_children_are_nobodys_concern_but_for_their_number() -> None:
    assert plan(seats((1, False, DRAIN)), 1) == Plan(fork=(1,))
    assert plan(seats((1, True, DRAIN), (1, True, DRAIN), (1, True, READY)), 1) == Plan()


tables = st.lists(st.tuples(st.integers(1, 6), st.booleans(), st.sampled_from(Stage)), max_size=14)


@given(tables, st.integers(1, 6), st.sets(st.integers(1, 6)))
def test_whatever_the_table(rows: list[tuple[int, bool, Stage]], wanted: int, held_back: set[int]) -> None:
    table = seats(*rows)
    made = plan(table, wanted, lambda slot: slot not in held_back)
    ready = {seat.index for seat in table if seat.stage is READY}
    # ready children never fall below the wanted number by the plan
    assert len(ready - set(made.drain)) >= min(len(ready), wanted)
    # nobody is told twice, and only those who have not been told
    assert len(set(made.drain)) == len(made.drain)
    assert not set(made.drain) & {seat.index for seat in table if seat.stage is DRAIN}
    # a fork fills an empty place that may be filled
    assert len(set(made.fork)) == len(made.fork)
    taken = {seat.slot for seat in table if not seat.stale and seat.stage is not DRAIN}
    assert set(made.fork) <= set(range(1, wanted + 1)) - taken - held_back
    # processes do not pile up
    assert len(table) + len(made.fork) <= max(len(table), 2 * wanted + 1)


@given(tables, st.integers(1, 6))
def test_carried_out_again_and_again_it_gets_where_it_should(rows: list[tuple[int, bool, Stage]], wanted: int) -> None:
    # no slot ever has two current children
    current = {slot: (slot, stale, stage) for slot, stale, stage in rows if not stale and stage is not DRAIN}
    table = seats(*current.values(), *[row for row in rows if row[1] or row[2] is DRAIN])
    enough = sum(seat.stage is READY for seat in table) >= wanted
    next_index = 1000
    for _ in range(60):
        made = plan(table, wanted)
        after = []
        for seat in table:
            if seat.stage is DRAIN:
                continue  # it has left
            stage = DRAIN if seat.index in made.drain else READY
            after.append(Seat(seat.index, seat.slot, seat.stale, stage))
        for slot in made.fork:
            next_index += 1
            after.append(Seat(next_index, slot, stale=False, stage=BOOT))
        table = after
        if enough:
            assert sum(seat.stage is READY for seat in table) >= wanted
    assert sorted(seat.slot for seat in table) == list(range(1, wanted + 1))
    assert all(seat.stage is READY and not seat.stale for seat in table)


def test_the_first_grants_share_what_there_is() -> None:
    assert quota_grants(100, 0, {1: 0, 2: 0}, {1: 0, 2: 0}, 10) == {1: 25, 2: 18}


def test_the_last_grants_are_small_and_exact() -> None:
    assert quota_grants(100, 90, {1: 5, 2: 0}, {1: 5, 2: 0}, 10) == {1: 5}
    assert quota_grants(100, 90, {1: 5, 2: 5}, {1: 0, 2: 0}, 10) == {}


def test_nobody_is_woken_for_nothing() -> None:
    assert quota_grants(1000, 0, {1: 50}, {1: 40}, 10) == {}


@given(st.integers(1, 500), st.lists(st.integers(0, 60), min_size=1, max_size=6), st.integers(1, 40))
def test_grants_add_up_to_what_was_asked_for(asked: int, appetites: list[int], portion: int) -> None:
    quota = dict.fromkeys(range(len(appetites)), 0)
    claimed = dict(quota)
    for _ in range(3 * asked):
        for child, more in quota_grants(asked, 0, quota, claimed, portion).items():
            assert more > 0
            quota[child] += more
        assert sum(quota.values()) <= asked
        for child, appetite in enumerate(appetites):
            claimed[child] = min(quota[child], claimed[child] + 1 + appetite)
        if sum(claimed.values()) == asked:
            return
    raise AssertionError(f"stuck at {claimed} of {asked}, quotas {quota}")
