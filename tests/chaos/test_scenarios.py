"""The short form of every chaos scenario: nothing is lost, and nothing runs twice without cause."""

import pytest

from tests.chaos.run import fight
from tests.chaos.scenarios import SCENARIOS


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario(name: str) -> None:
    # given a Redis, parents, a producer; when the harm is done
    judgement = fight(SCENARIOS[name], SCENARIOS[name].short)
    # then all accounts fit
    assert not judgement.wrong, judgement.lines
