"""The short form of the parent's acceptance list, without its bars of time, memory and CPU."""

import pytest

from tests.chaos.parent import ROWS, measure


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", ROWS)
def test_row(name: str) -> None:
    # given a Redis and a parent, when the row is gone through
    measured = measure(ROWS[name], quick=True)
    # then it is right, be it slow
    assert measured.right, measured.said
