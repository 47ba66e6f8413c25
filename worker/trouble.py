"""What a child does about requests that fail: it waits ever longer before the next, and does not fill the log."""

import logging
import random

from multiworker.worker.backoff import exponential
from multiworker.worker.lane import Lane

log = logging.getLogger("multiworker.worker")

RECONNECT, RECONNECT_CAP = 0.1, 2.0
"""Seconds; the first and the highest ceiling of the wait before Redis is tried again."""
COMPLAIN, COMPLAIN_CAP = 1.0, 10.0
"""Seconds between two log lines about Redis: after the first trouble, and as it goes on."""


class Trouble:
    """One child's trouble with Redis, over all its queues."""

    def __init__(self) -> None:
        self._silent_until = 0.0

    def met(self, lane: Lane, what: str, error: Exception, now: float) -> None:
        """Note that a request has failed. The first in a row may be tried again at once.

        Args:
            lane: whose request it was.
            what: stands before the error in the log.
            error: what came of it.
            now: loop time in seconds.
        """
        lane.failures += 1
        if lane.failures > 1:
            jitter = 0.5 + random.random() / 2  # noqa: S311
            cap = min(RECONNECT_CAP, lane.broker.lease / 4)  # the grace after an outage lasts one lease
            lane.mend_at = now + exponential(lane.failures - 1, jitter, base=RECONNECT, cap=cap)
        if now >= self._silent_until:
            log.warning("queue %s: %s%s", lane.broker.queue, what, error)
            self._silent_until = now + min(COMPLAIN_CAP, COMPLAIN * 2 ** min(lane.failures - 1, 10))
