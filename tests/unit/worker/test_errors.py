"""Errors, control exceptions, reasons and exit codes."""

import math
import os

import pytest

from multiworker.worker import errors
from multiworker.worker.errors import (
    MAX_DELAY,
    Exit,
    HandlerTimeout,
    MultiworkerError,
    PayloadError,
    Reason,
    Reject,
    Retry,
)


def test_every_error_but_the_handlers_timeout_has_one_base() -> None:
    named = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception)]
    assert {error for error in named if not issubclass(error, MultiworkerError)} == {HandlerTimeout}


def test_a_handlers_timeout_is_what_people_catch_as_a_timeout() -> None:
    assert issubclass(HandlerTimeout, TimeoutError)


def test_the_reasons_are_words_that_people_alert_by() -> None:
    assert {reason.value for reason in Reason} == {
        "attempts exhausted",
        "rejected",
        "no handler",
        "crashed",
        "too large",
        "not utf-8",
        "not json",
        "not an object",
        "no type",
        "bad type",
        "duplicate key",
        "too deep",
    }


def test_a_payload_error_says_the_reason_and_the_detail() -> None:
    error = PayloadError(Reason.NO_TYPE, "the object has no type")
    assert (error.reason, error.detail, str(error)) == (
        Reason.NO_TYPE,
        "the object has no type",
        "no type: the object has no type",
    )


@pytest.mark.parametrize("delay", [None, 0, 0.5, MAX_DELAY])
def test_retry_takes_a_delay_up_to_ten_years(delay: float | None) -> None:
    assert Retry("later", delay=delay).delay == delay


@pytest.mark.parametrize("delay", [-0.001, MAX_DELAY + 1, math.inf, math.nan])
def test_retry_refuses_a_delay_that_cannot_be(delay: float) -> None:
    with pytest.raises(ValueError, match="delay is 0 to"):
        Retry(delay=delay)


def test_control_exceptions_carry_their_reason() -> None:
    assert (str(Retry("busy")), str(Retry()), str(Reject("spam")), str(Reject())) == ("busy", "", "spam", "")


def test_exit_codes_are_those_of_sysexits() -> None:
    assert {code.name: int(code) for code in Exit} == {
        "OK": 0,
        "USAGE": 64,
        "UNAVAILABLE": 69,
        "SOFTWARE": 70,
        "OSERR": 71,
        "CANTCREAT": 73,
        "TEMPFAIL": 75,
        "FENCED": 76,
        "CONFIG": 78,
    }
    assert Exit.CONFIG == os.EX_CONFIG
