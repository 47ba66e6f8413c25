"""The parent's only wait. Control signals are blocked for life and taken one by one: no handler, no lost signal."""

import signal
from collections.abc import Iterator
from typing import NamedTuple

CONTROL = frozenset(
    {
        signal.SIGTERM,
        signal.SIGINT,
        signal.SIGQUIT,
        signal.SIGHUP,
        signal.SIGUSR1,
        signal.SIGUSR2,
        signal.SIGTTIN,
        signal.SIGTTOU,
        signal.SIGCHLD,
    }
)
"""What the parent listens to."""
BLOCKED = CONTROL | {signal.SIGALRM}
"""What is blocked in the parent, and must not be in a child: also the alarm that ends a wait."""
MOST_AT_ONCE = 16
"""Signals taken before the parent looks at its table again, so that a storm cannot starve it."""
_FROM_A_PROCESS = 0
"""si_code up to this: sent by kill(2) and the like; above it: by the kernel, as when a terminal closes."""


class Arrival(NamedTuple):
    """A signal that came.

    Args:
        number: which.
        sender: pid of who sent it; 0 for the kernel.
        uid: user id of the sender.
        by_kernel: the kernel sent it of its own accord, as when a terminal closes.
    """

    number: signal.Signals
    sender: int
    uid: int
    by_kernel: bool


def block() -> None:
    """Block all control signals, from before the first fork to the exit. SIGCHLD needs a handler to be queued."""
    signal.pthread_sigmask(signal.SIG_BLOCK, BLOCKED)
    signal.signal(signal.SIGCHLD, lambda *_: None)


def arrivals(timeout: float) -> Iterator[Arrival]:
    """Wait for signals.

    Args:
        timeout: seconds to wait for the first one.

    Returns:
        Those that came, at most MOST_AT_ONCE.
    """
    for _ in range(MOST_AT_ONCE):
        info = signal.sigtimedwait(CONTROL, 0) or _wait(timeout)
        if info is None:
            return
        timeout = 0.0
        yield Arrival(signal.Signals(info.si_signo), info.si_pid, info.si_uid, info.si_code > _FROM_A_PROCESS)


def _wait(seconds: float) -> signal.struct_siginfo | None:
    """Wait for a signal, by an alarm of our own instead of sigtimedwait's timeout.

    If that passes while the process is stopped, CPython (3.13 and older at least) returns what lay on the stack, which
    may look like any signal.
    """
    if seconds <= 0:
        return None
    signal.setitimer(signal.ITIMER_REAL, seconds)
    info = signal.sigwaitinfo(BLOCKED)
    signal.setitimer(signal.ITIMER_REAL, 0)
    return None if info.si_signo == signal.SIGALRM else info
