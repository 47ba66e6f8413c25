"""Whom the kernel lets go first: this child's event loop, or other programs such as Redis."""

import contextlib
import os

STREAK = 10
"""Rounds without a rest after which a child is under full load."""


class Courtesy:
    """Has the event loop's thread interrupt nobody while it is under full load (SCHED_BATCH, sched(7)).

    A Redis on the same machine then answers one child while another computes, and need not wait for that to be through:
    on 2 cores, a fifth more tasks a second. A child that rests goes back to where it is woken at once, though others
    compute. It belongs to one thread; a policy that the operator has chosen stays.
    """

    def __init__(self) -> None:
        self._streak = 0
        self._ours = False
        with contextlib.suppress(OSError):  # musl has no such call
            self._ours = os.sched_getscheduler(0) == os.SCHED_OTHER

    def busy(self) -> None:
        """Note a round that another one follows at once."""
        self._streak += 1
        if self._streak == STREAK:
            self._take(os.SCHED_BATCH)

    def rest(self) -> None:
        """Note that there is nothing to do now."""
        if self._streak >= STREAK:
            self._take(os.SCHED_OTHER)
        self._streak = 0

    def _take(self, policy: int) -> None:
        if self._ours:
            os.sched_setscheduler(0, policy, os.sched_param(0))
