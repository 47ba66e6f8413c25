"""What becomes of a task: one pure function turns what its handler did into an outcome."""

from enum import Enum
from typing import NamedTuple

from multiworker.worker.backoff import exponential
from multiworker.worker.errors import Reason, Reject, Retry
from multiworker.worker.logs import describe
from multiworker.worker.registry import BACKOFF_CAP


class Plain(Enum):
    """Outcomes that say it all by their name."""

    DONE = "done"
    GIVEN_BACK = "given back"
    """It was cancelled because its child leaves; it runs again elsewhere, and no attempt is counted."""


class RetryIn(NamedTuple):
    """It failed and runs again.

    Args:
        delay: seconds until then.
        error: what went wrong, in one line.
    """

    delay: float
    error: str


class Dead(NamedTuple):
    """It goes to the dead letters.

    Args:
        reason: why.
        error: what went wrong, in one line.
        detail: for the dead letter: traceback, explanation, or the SHA-256 of an oversized payload.
    """

    reason: Reason
    error: str
    detail: str


Outcome = Plain | RetryIn | Dead
DONE = Plain.DONE
GIVEN_BACK = Plain.GIVEN_BACK


def decide(
    error: BaseException, detail: str, *, attempt: int, max_attempts: int, backoff: float, random: float
) -> RetryIn | Dead:
    """Turn a handler's failure into an outcome.

    Args:
        error: what the handler raised.
        detail: its traceback, as it goes to the dead letters.
        attempt: which run this was, from 1.
        max_attempts: how often the task may run.
        backoff: seconds; the ceiling of the first back-off.
        random: a number in [0, 1), for the jitter.
    """
    text = describe(error)
    if isinstance(error, Reject):
        return Dead(Reason.REJECTED, text, detail)
    if attempt >= max_attempts:
        return Dead(Reason.EXHAUSTED, text, detail)
    if isinstance(error, Retry) and error.delay is not None:
        return RetryIn(error.delay, text)
    return RetryIn(exponential(attempt, random, base=backoff, cap=BACKOFF_CAP), text)
