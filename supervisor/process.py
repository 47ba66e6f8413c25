"""The one place that forks, and the one that reaps."""

import contextlib
import ctypes
import faulthandler
import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from typing import NoReturn

from multiworker.supervisor.signals import BLOCKED
from multiworker.worker.errors import Exit

log = logging.getLogger("multiworker.supervisor")

OOM_SCORE_STEP = 100
"""How far a child's oom_score_adj lies above the parent's: a tenth of the memory there is."""
OOM_SCORE_LIMIT = 1000  # proc(5)
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36  # prctl(2)
_IGNORED_BY_CHILDREN = (signal.SIGHUP, signal.SIGINT)  # a terminal or pkill sends them to everybody; the parent decides
_libc = ctypes.CDLL(None, use_errno=True)


def fork(life: Callable[[], int], *, close: Sequence[int] = ()) -> int:
    """Fork a child that lives `life` and then ends.

    Signals are blocked here, and stay so until the child has set its own dispositions: one that is sent right after the
    fork is neither lost nor handled by a copy of the parent's state.

    Args:
        life: what the child does; its result is the exit code. Nothing of the parent's runs in the child afterwards.
        close: file descriptors that the child must not keep, such as a lock's.

    Returns:
        The child's pid.

    Raises:
        OSError: the system refuses.
    """
    _flush()
    parent = os.getpid()

    def begin() -> int:
        _become_child(parent, close)
        return life()

    pid = os.fork()
    if not pid:
        _live(begin)
    return pid


def become_subreaper() -> None:
    """Have the kernel give this process all that its children leave behind; without it, fork_for() finds no parent."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def fork_for(parent: int, announce: Callable[[int], None], life: Callable[[], int]) -> bool:
    """Fork a child that belongs to an ancestor of this process, a subreaper.

    A subreaper adopts orphans only: so a process in between forks the child, and ends at once. The child lives only
    when it has been adopted, and dies with its adoptive parent; its dispositions are those of this process.

    Args:
        parent: pid of the ancestor.
        announce: told the child's pid, before it can end; called by two processes with the same.
        life: what the child does; its result is the exit code.

    Returns:
        False if the system refuses.
    """
    _flush()
    try:
        between = os.fork()
    except OSError as error:
        log.error("cannot fork: %s", error.strerror)
        return False
    if not between:
        _live(lambda: _bear(parent, announce, life))
    _, status = os.waitpid(between, 0)
    return status == 0


def _bear(parent: int, announce: Callable[[int], None], life: Callable[[], int]) -> int:
    between = os.getpid()
    born = os.fork()
    if born:
        announce(born)
        return Exit.OK
    os.setpgid(0, 0)
    announce(os.getpid())
    while os.getppid() == between:
        os.sched_yield()  # it ends right now
    _die_with(parent)
    return life()


def _live(life: Callable[[], int]) -> NoReturn:
    code = int(Exit.SOFTWARE)
    try:
        code = life()
    except BaseException:  # noqa: BLE001 - whatever it was, no part of the parent's code may run in the child
        log.error("child failed: %s", traceback.format_exc(limit=-12))
    finally:
        _flush()
        os._exit(code)


def volunteer() -> None:
    """Have the kernel take this child before the parent when memory runs out: raising the score is free (proc(5))."""
    # Each child does this, and a Path's code is much to touch.
    with contextlib.suppress(OSError, ValueError), open("/proc/self/oom_score_adj", "r+b", buffering=0) as score:  # noqa: PTH123
        raised = min(OOM_SCORE_LIMIT, int(score.read()) + OOM_SCORE_STEP)
        score.seek(0)
        score.write(b"%d" % raised)


def execute(arguments: Sequence[str]) -> int:
    """Become another program; the `life` of a child that is not ours."""
    try:
        os.execv(arguments[0], list(arguments))  # noqa: S606 - no shell is wanted
    except OSError as error:
        log.error("cannot run %s: %s", arguments[0], error.strerror)
    return Exit.OSERR


def reap(ours: Container[int]) -> Iterator[tuple[int, int]]:
    """Collect every child that has ended.

    Args:
        ours: pids from fork(). Whatever they have left behind in their process groups is ended; what other children
            leave behind, which a process with pid 1 inherits, is none of our business.

    Yields:
        Its pid; and its exit code, or minus the signal that ended it.
    """
    while True:
        try:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if ended is None:
            return
        if ended.si_pid in ours:
            send_group(ended.si_pid, signal.SIGKILL)  # the zombie still pins the id, so no stranger can be hit
        pid, status = os.waitpid(ended.si_pid, 0)
        yield pid, os.waitstatus_to_exitcode(status)


def send(pid: int, number: signal.Signals) -> None:
    """Send a signal to a child that has not been reaped: its pid cannot belong to anybody else."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        log.debug("no process %d", pid)


def end(pids: Iterable[int]) -> None:
    """Kill children that hold nothing, with all that they have started, and wait until they are gone."""
    pids = list(pids)
    for pid in pids:
        send(pid, signal.SIGKILL)
    for pid in pids:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        send_group(pid, signal.SIGKILL)  # as in reap()
        os.waitpid(pid, 0)


def die_by(number: signal.Signals) -> None:
    """End this process as a signal ends one that has never heard of it; comes back only in process 1."""
    _flush()
    signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
    os.kill(os.getpid(), number)


def send_group(pid: int, number: signal.Signals) -> None:
    """Send a signal to all that a child has started and that stayed in its group."""
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        log.debug("nobody is left in the group of %d", pid)


def _flush() -> None:
    """Write out what is buffered. Nobody may be there to read it, but a child must not get past its end for that."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()


def _die_with(parent: int) -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:  # it died before the line above took effect
        os._exit(Exit.OK)


def _become_child(parent: int, close: Sequence[int]) -> None:
    os.setpgid(0, 0)
    _die_with(parent)
    for fd in close:
        os.close(fd)
    for number in BLOCKED:
        signal.signal(number, signal.SIG_DFL)
    for number in _IGNORED_BY_CHILDREN:
        signal.signal(number, signal.SIG_IGN)
    faulthandler.enable(sys.stderr.fileno())
    faulthandler.register(signal.SIGUSR2, file=sys.stderr.fileno(), all_threads=True)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, BLOCKED)
