"""How long to wait before the next try."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multiworker.worker.backoff import exponential

ATTEMPTS = st.integers(-5, 10**9)
SHARES = st.floats(0, 1, exclude_max=True)


@given(attempt=ATTEMPTS, random=SHARES, base=st.floats(0, 3e8), cap=st.floats(0, 3e8))
def test_a_delay_lies_between_nothing_and_the_cap(attempt: int, random: float, base: float, cap: float) -> None:
    assert 0 <= exponential(attempt, random, base=base, cap=cap) <= cap


@pytest.mark.parametrize(
    ("attempt", "ceiling"), [(0, 5), (1, 5), (2, 10), (3, 20), (10, 2560), (11, 3600), (10**6, 3600)]
)
def test_the_ceiling_doubles_with_each_failure_up_to_the_cap(attempt: int, ceiling: float) -> None:
    assert exponential(attempt, 0.5, base=5, cap=3600) == ceiling / 2


def test_jitter_is_full() -> None:
    assert exponential(3, 0.0, base=5, cap=3600) == 0
    assert exponential(3, 0.999, base=5, cap=3600) == pytest.approx(20 * 0.999)
