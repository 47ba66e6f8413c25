"""The parent before it knows its settings: they are read in one process, while a template begins in another."""

import signal
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from multiworker.supervisor import lives, process, signals, templates
from multiworker.supervisor.resolver import Answer, Resolver, answer_of
from multiworker.supervisor.templates import Begun
from multiworker.worker.errors import Exit
from multiworker.worker.settings import Settings

_TICK = 0.25
_BY_SIGNAL = 128
"""What the shells add to a signal's number for an exit code."""
_STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)


class Early(NamedTuple):
    """What has come of it.

    Args:
        answer: the settings, or why there are none.
        template: which has begun; None if the system refused, or it has ended.
        arrivals: what a parent that knows its settings is to obey, the last of each signal.
    """

    answer: Answer
    template: Begun | None
    arrivals: Sequence[signals.Arrival]


def begin(read: Callable[[], Settings], locks: Sequence[int]) -> Early:
    """Have the settings read, and a template begin at the same time.

    A signal that stops a parent ends both, and then this process as if nothing had been begun.

    Args:
        read: see lives.resolver().
        locks: file descriptors that no other process may keep.
    """
    survives_hangup = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    template, resolver = _template(locks), Resolver()
    resolver.begin(read, close=[*locks, *(template.fds if template else [])])
    if not resolver.pid:  # the system refuses to fork, and may stop doing so: then this process is a bit larger
        return Early(answer_of(lives.spoken(read)) or Answer(code=Exit.SOFTWARE), template, ())
    later: dict[signal.Signals, signals.Arrival] = {}
    while not (answer := resolver.answer(time.monotonic())):
        for arrival in signals.arrivals(_TICK):
            hangs_up = arrival.number is signal.SIGHUP and arrival.by_kernel and not survives_hangup
            if arrival.number in _STOPS or hangs_up:
                process.end([resolver.pid, *([template.pid] if template else [])])
                return Early(_stopped_by(arrival.number), None, ())
            if arrival.number is not signal.SIGCHLD:
                later[arrival.number] = arrival
        template = _reap(resolver, template)
    return Early(answer, template, list(later.values()))


def _template(locks: Sequence[int]) -> Begun | None:
    try:
        return templates.begin(None, locks)
    except OSError:  # it is tried again, and told, when there is a scoreboard
        return None


def _reap(resolver: Resolver, template: Begun | None) -> Begun | None:
    """Bury who has ended, and return the template if it is none of them."""
    for pid, code in process.reap([resolver.pid, template.pid if template else 0]):
        resolver.reaped(pid, code)
        if template and pid == template.pid:
            template.close()
            template = None
    return template


def _stopped_by(number: signal.Signals) -> Answer:
    if number is not signal.SIGINT:  # Ctrl-C is an exit code
        process.die_by(number)
    return Answer(code=_BY_SIGNAL + number)
