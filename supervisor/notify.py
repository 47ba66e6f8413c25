"""What systemd is told, by sd_notify(3): one view of the parent a pass, and what follows from it.

Level-triggered: `decide` compares the view with what systemd knows. What could not be sent is decided anew at the next
pass, so a full or absent socket costs nothing but a delay.
"""

import contextlib
import logging
import math
import os
import socket
from collections.abc import MutableMapping, Sequence
from typing import NamedTuple

from multiworker.supervisor.children import Child
from multiworker.supervisor.plan import Stage
from multiworker.supervisor.reload import Outcome, Reload
from multiworker.worker.logs import one_line
from multiworker.worker.words import Word

log = logging.getLogger("multiworker.supervisor")

EXTENSION = 30
"""Seconds of more time that are asked for; covers what a stop does after its last pass (the last sweep, the server)."""
EXTEND_EVERY = 1.0
"""Seconds between two such requests."""
MAX_STATUS = 300
"""Characters of the status line."""
_VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")


class View(NamedTuple):
    """The parent, as far as it is systemd's business.

    Args:
        at: monotonic seconds.
        generation: the wanted one.
        complete: a generation has had all its children ready.
        ready: ready children.
        wanted: how many there should be.
        reloads: up to which request for a reload one has begun, or was refused.
        reloading: one is under way.
        trouble: why the last one came to nothing.
        stopping: nothing is forked any more.
        tasks: held by children.
        without_redis: a child waits for Redis.
        in_time: somebody boots or drains, and has not used up the time for it.
        alive: children's loops turn and their requests to Redis come to an end.
    """

    at: float
    generation: int = 1
    complete: bool = False
    ready: int = 0
    wanted: int = 1
    reloads: int = 0
    reloading: bool = False
    trouble: str = ""
    stopping: bool = False
    tasks: int = 0
    without_redis: bool = False
    in_time: bool = True
    alive: bool = True


class Told(NamedTuple):
    """What systemd knows.

    Args:
        ready: the start is over.
        reloads: as in the view that was told last.
        reloading: it waits for the end of a reload.
        stopping: this is the end.
        status: the status line.
        pinged_at: monotonic seconds of the last WATCHDOG=1.
        extended_at: monotonic seconds of the last request for more time.
    """

    ready: bool = False
    reloads: int = 0
    reloading: bool = False
    stopping: bool = False
    status: str = ""
    pinged_at: float = -math.inf
    extended_at: float = -math.inf


def look(reload: Reload, children: Sequence[Child], wanted: int, *, stopping: bool, now: float) -> View:
    """Take the view.

    Args:
        reload: the generations.
        children: every child that has not been reaped.
        wanted: how many there should be.
        stopping: nothing is forked any more.
        now: monotonic seconds.
    """
    generation = reload.wanted
    return View(
        at=now,
        generation=generation.number,
        complete=reload.good is not None,
        ready=sum(child.stage is Stage.READY for child in children),
        wanted=wanted,
        reloads=reload.begun,
        reloading=reload.under_way,
        trouble=reload.failure if reload.outcome in (Outcome.REFUSED, Outcome.ABANDONED) else "",
        stopping=stopping,
        tasks=sum(child.record[Word.IN_FLIGHT] for child in children),
        without_redis=any(child.without_redis for child in children),
        in_time=not children or any(child.in_time(generation.settings, now) for child in children),
        alive=not children or any(child.alive(now) for child in children),
    )


def decide(told: Told, view: View, watchdog: float) -> tuple[list[str], Told]:
    """Tell what follows from a view.

    Args:
        told: what systemd knows.
        view: how things are.
        watchdog: seconds between two signs of life; 0 if none are wanted.

    Returns:
        Datagrams in order, and what systemd knows when all of them have been sent.
    """
    datagrams = _milestones(told, view)
    ready = told.ready or "READY=1" in datagrams
    status = describe(view)
    if status != told.status:
        datagrams[-1:] = ["\n".join([*datagrams[-1:], f"STATUS={status}"])]
    known = told._replace(ready=ready, reloads=view.reloads, reloading=ready and view.reloading)
    known = known._replace(stopping=view.stopping, status=status)
    if (view.stopping or not ready) and view.in_time and view.at - told.extended_at >= EXTEND_EVERY:
        datagrams.append(f"EXTEND_TIMEOUT_USEC={EXTENSION * 1_000_000}")
        known = known._replace(extended_at=view.at)
    if watchdog and ready and view.alive and view.at - told.pinged_at >= watchdog:
        datagrams.append("WATCHDOG=1")
        known = known._replace(pinged_at=view.at)
    return datagrams, known


def _milestones(told: Told, view: View) -> list[str]:
    """Return the turns of its life. RELOADING is always followed by READY, except by the end; nothing follows that."""
    if view.stopping:
        return [] if told.stopping else ["STOPPING=1"]
    if not view.complete:
        return []
    turns = [] if told.ready else ["READY=1"]
    refused = told.ready and view.reloads != told.reloads and not view.reloading
    begun = not told.reloading and (view.reloading or refused)
    if begun:
        turns.append(f"RELOADING=1\nMONOTONIC_USEC={view.at * 1e6:.0f}")
    if (begun or told.reloading) and not view.reloading:
        turns.append("READY=1")
    return turns


def describe(view: View) -> str:
    """Return the status line that ``systemctl status`` shows."""
    count = f"{view.ready}/{view.wanted} ready, generation {view.generation}"
    if view.stopping:
        return f"draining, {view.tasks} task{'' if view.tasks == 1 else 's'} left"
    if view.without_redis:
        return f"waiting for Redis, {count}"
    if not view.complete:
        return f"starting, {count}"
    if view.reloading:
        return f"reloading, {count}"
    return one_line(f"{count}; reload failed: {view.trouble}" if view.trouble else count)[:MAX_STATUS]


class Notifier:
    """The line to systemd; without one, or if it is broken, nothing happens.

    Args:
        environ: the environment; the variables of sd_notify are taken out, so that no other process ever has them.
    """

    def __init__(self, environ: MutableMapping[str, str] = os.environ) -> None:
        address, watchdog, watched = (environ.pop(name, "") for name in _VARIABLES)
        self._address = address.replace("@", "\0", 1) if address.startswith("@") else address
        self._socket: socket.socket | None = None
        self._told = Told()
        self._trouble = ""
        self._watchdog = 0.0
        if watched in ("", str(os.getpid())) and watchdog.isascii() and watchdog.isdigit():
            self._watchdog = int(watchdog) / 1e6 / 2
        if address.startswith(("/", "@")):
            with contextlib.suppress(OSError):
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)

    @property
    def fds(self) -> list[int]:
        """The file descriptors that children must not keep."""
        return [self._socket.fileno()] if self._socket else []

    def tell(self, view: View) -> None:
        """Let systemd know what it does not know yet."""
        if not self._socket:
            return
        datagrams, told = decide(self._told, view, self._watchdog)
        try:
            for datagram in datagrams:
                self._socket.sendto(datagram.encode("utf-8", "replace"), self._address)
        except OSError as error:
            self._cannot_tell(error.strerror or str(error))
        else:
            self._told, self._trouble = told, ""

    def _cannot_tell(self, trouble: str) -> None:
        """Say so once; the next pass tries again."""
        if trouble != self._trouble:
            log.warning("systemd cannot be told: %s", trouble)
            self._trouble = trouble

    def close(self) -> None:
        """Hang up."""
        if self._socket:
            self._socket.close()
