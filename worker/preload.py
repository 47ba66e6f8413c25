"""What must not be in a process that others are forked from: a second thread, or a connection that they would share.

A fork copies the calling thread only, and whatever lock another one held stays locked for ever in the copy. A
connection that two processes use mixes up their requests and replies.
"""

import os
import socket
import stat
import sys
import threading
import time
from pathlib import Path

_TASKS = Path("/proc/self/task")
_OPEN = Path("/proc/self/fd")
_ENDING = 1.0  # seconds


def open_sockets() -> set[str]:
    """Name the sockets that are open now, by inode."""
    return set(_sockets().values())


def hazard(known: set[str]) -> str | None:
    """Look for what must not be forked.

    Args:
        known: sockets that were open before the handlers were imported; see open_sockets().

    Returns:
        What it is, to complete "a process with ..."; None if there is nothing.
    """
    return _threads() or _connections(known) or _django_connections()


def _threads() -> str | None:
    """Name other threads. One that Python has seen to its end may take a moment longer for the kernel."""
    patience = time.monotonic() + _ENDING
    while len(ids := [int(folder.name) for folder in _TASKS.iterdir()]) > 1:
        if threading.active_count() > 1 or time.monotonic() > patience:
            break
        time.sleep(0.001)
    else:
        return None
    named = {thread.native_id: thread.name for thread in threading.enumerate()}
    others = sorted(named.get(tid) or _native_name(tid) for tid in ids if tid != os.getpid())
    return f"{len(ids)} threads ({', '.join(others)} beside the main one)"


def _native_name(tid: int) -> str:
    try:
        return (_TASKS / str(tid) / "comm").read_text().strip()
    except OSError:
        return f"thread {tid}"


def _connections(known: set[str]) -> str | None:
    for fd, inode in _sockets().items():
        if inode not in known and (peer := _peer(fd)):
            return f"an open connection to {peer}"
    return None


def _sockets() -> dict[int, str]:
    found = {}
    for entry in _OPEN.iterdir():
        try:
            if stat.S_ISSOCK(entry.stat().st_mode):
                found[int(entry.name)] = str(entry.readlink())
        except OSError:  # the one by which the directory is read is closed by now
            continue
    return found


def _peer(fd: int) -> str | None:
    """Return whom a stream leads to; a datagram to the system's log may be shared."""
    with socket.socket(fileno=os.dup(fd)) as copy:
        if copy.type != socket.SOCK_STREAM:
            return None
        try:
            address = copy.getpeername()
        except OSError:
            return None
    if isinstance(address, tuple):
        return f"{address[0]} port {address[1]}"
    return os.fsdecode(address) or "a socket of this machine"


def _django_connections() -> str | None:
    """Name an open connection of Django's: SQLite has no socket to be found by."""
    django = sys.modules.get("django.db")
    opened = django.connections.all(initialized_only=True) if django else ()
    aliases = [one.alias for one in opened if one.connection is not None]
    return f"an open connection of the Django database {aliases[0]!r}" if aliases else None
