"""The claim protocol in every order of events, with a few faults; and with one wrong rule, which must show."""

import random

import pytest

from tests.model.bounds import FLAWED, QUICK
from tests.model.canonical import canonical
from tests.model.checker import check, moves
from tests.model.flaws import Flaw
from tests.model.world import Budget, World

EVERYTHING = Budget(retries=2, lost_requests=1, lost_replies=1, late=1, copies=1, kills=1, expiries=1, outages=1)


@pytest.mark.parametrize("world", QUICK, ids=str)
def test_every_property_holds(world: World) -> None:
    verdict = check(world)
    assert not verdict.violations, "\n".join(map(str, verdict.violations))


@pytest.mark.parametrize("flaw", FLAWED, ids=lambda flaw: flaw.name.lower())
def test_a_wrong_rule_shows(flaw: Flaw) -> None:
    world, breaks = FLAWED[flaw]
    [violation] = check(world.with_flaw(flaw), stop_at=breaks).violations
    assert violation.what == breaks
    assert violation.trace


@pytest.mark.parametrize("flaw", FLAWED, ids=lambda flaw: flaw.name.lower())
def test_the_right_rule_does_not(flaw: Flaw) -> None:
    world, _ = FLAWED[flaw]
    assert check(world).violations == []


def test_every_flaw_is_tried() -> None:
    assert set(FLAWED) == set(Flaw) - {Flaw.NONE}


def test_a_counterexample_can_be_read() -> None:
    world = World(Budget(outages=1), flaw=Flaw.NO_GRACE)
    [violation] = check(world).violations
    assert str(violation).splitlines() == [
        "a living worker was declared dead, though its lease was good or nobody's was",
        "   1. FAULT: Redis is away until everybody's lease is over",
        "   2. upkeep after an outage",
        "   3. worker 1 is silent: recover",
    ]


@pytest.mark.parametrize("seed", range(10))
def test_states_that_count_as_one_go_the_same_ways(seed: int) -> None:
    chance = random.Random(seed)
    world = World(EVERYTHING, own_waits=True, permits=chance.randint(1, 2), registered=chance.random() < 0.5)
    state = world.start()
    for _ in range(60):
        ways = {canonical(move.state): move for move in moves(world, state)}
        others = {canonical(move.state) for move in moves(world, canonical(state))}
        assert set(ways) ^ others <= {canonical(state)}, "a late request without effect is all that may be forgotten"
        state = chance.choice(list(ways.values())).state


def test_the_worlds_are_not_too_tame() -> None:
    signs = {"STALE", "FENCED", "TAKEN", "hands off", "times out", "late:", "FAULT", "1 unknown", "1 gone", "silent:"}
    saw: set[str] = set()
    world = World(EVERYTHING, own_waits=True, registered=False)
    for seed in range(200):
        chance, state = random.Random(seed), world.start()
        for _ in range(100):
            possible = list(moves(world, state))
            if not possible:
                break
            what, state, _ = chance.choice(possible)
            saw.update(sign for sign in signs if sign in what)
    assert saw == signs
