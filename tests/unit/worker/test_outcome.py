"""What becomes of a task that failed."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multiworker.worker.errors import HandlerTimeout, Reason, Reject, Retry
from multiworker.worker.outcome import Dead, RetryIn, decide
from multiworker.worker.registry import BACKOFF_CAP


def decided(error: BaseException, *, attempt: int = 1, max_attempts: int = 3, random: float = 0.5) -> RetryIn | Dead:
    return decide(error, "the traceback", attempt=attempt, max_attempts=max_attempts, backoff=8.0, random=random)


def test_a_failure_with_attempts_left_is_retried_after_a_back_off() -> None:
    assert decided(ValueError("no"), attempt=1) == RetryIn(4.0, "ValueError: no")
    assert decided(ValueError("no"), attempt=2) == RetryIn(8.0, "ValueError: no")


@pytest.mark.parametrize("attempt", [3, 4, 10**20])
def test_a_failure_in_the_last_attempt_is_dead(attempt: int) -> None:
    assert decided(ValueError("no"), attempt=attempt) == Dead(Reason.EXHAUSTED, "ValueError: no", "the traceback")


def test_retry_chooses_its_delay() -> None:
    assert decided(Retry("busy", delay=0.25)) == RetryIn(0.25, "Retry: busy")
    assert decided(Retry("busy", delay=0)) == RetryIn(0, "Retry: busy")


def test_retry_without_a_delay_takes_the_back_off() -> None:
    assert decided(Retry("busy")) == RetryIn(4.0, "Retry: busy")


def test_retry_does_not_outlive_the_attempts() -> None:
    assert decided(Retry("busy", delay=1), attempt=3) == Dead(Reason.EXHAUSTED, "Retry: busy", "the traceback")


def test_reject_is_dead_at_once_and_for_its_own_reason() -> None:
    assert decided(Reject("spam"), attempt=1) == Dead(Reason.REJECTED, "Reject: spam", "the traceback")
    assert decided(Reject("spam"), attempt=3) == Dead(Reason.REJECTED, "Reject: spam", "the traceback")


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), SystemExit(1), GeneratorExit(), asyncio.CancelledError(), HandlerTimeout("late")]
)
def test_whatever_a_handler_raises_is_a_failure_like_any_other(error: BaseException) -> None:
    assert isinstance(decided(error), RetryIn)
    assert isinstance(decided(error, attempt=3), Dead)


@given(attempt=st.integers(1, 10**6), random=st.floats(0, 1, exclude_max=True))
def test_no_back_off_is_longer_than_an_hour(attempt: int, random: float) -> None:
    outcome = decided(ValueError(), attempt=attempt, max_attempts=10**7, random=random)
    assert isinstance(outcome, RetryIn)
    assert 0 <= outcome.delay <= BACKOFF_CAP


def test_the_error_is_one_line_whatever_it_says() -> None:
    outcome = decided(ValueError("a\nb\x1b[31m\u202e"))
    assert "\n" not in outcome.error
    assert "\x1b" not in outcome.error
    assert "\u202e" not in outcome.error
