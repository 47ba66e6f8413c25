"""What this host says of processes, and where on it running parents leave word of themselves."""

import os
import resource
import socket
from pathlib import Path


def host_name() -> str:
    """Return this host's name, as far as it is plain: at most 40 letters, digits and hyphens."""
    name = socket.gethostname()[:40]
    return "".join(c if c.isascii() and (c.isalnum() or c == "-") else "-" for c in name)


def resident_bytes() -> int:
    """Return this process's resident set, in bytes, from /proc/self/statm (proc(5): the second number, in pages)."""
    with open("/proc/self/statm", "rb") as statm:  # noqa: PTH123 - at every beat, and a Path takes three times as long
        return int(statm.read().split()[1]) * resource.getpagesize()


def birth(pid: int) -> int:
    """Return when a process was started: with its pid that names one process, for a pid alone is used again.

    Returns:
        Clock ticks since boot (proc(5), stat, field 22); 0 if it has ended, also if nobody has reaped it yet.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as stat:  # noqa: PTH123 - as above, in each child
            fields = stat.read().rpartition(b")")[2].split()
    except OSError:
        return 0
    return 0 if fields[0] in b"ZX" else int(fields[19])


def runtime_directory() -> Path:
    """Return the directory for the scoreboard, made if need be.

    Returns:
        systemd's RuntimeDirectory, else one of our own under XDG_RUNTIME_DIR, else under /dev/shm, per user.

    Raises:
        OSError: none can be made, or it belongs to somebody else.
    """
    given = _given()
    if given:
        return given
    session = os.environ.get("XDG_RUNTIME_DIR")
    path = Path(session, "multiworker") if session else _shared_memory(os.getuid())
    path.mkdir(mode=0o700, exist_ok=True)
    if path.is_symlink() or path.stat().st_uid != os.getuid():
        raise PermissionError(f"{path} belongs to another user")
    return path


def runtime_directories() -> list[Path]:
    """Return every directory in which the scoreboard of a running parent may lie, for whoever looks for it.

    Returns:
        RUNTIME_DIRECTORY alone if it is set, as in the commands of a systemd unit. Else what a shell, cron, a session
        and systemd's units of this user may have given; for root also what they have given to others.
    """
    given = _given()
    if given:
        return [given]
    user, session = os.getuid(), os.environ.get("XDG_RUNTIME_DIR")
    found = [Path(session)] if session else []
    found = [path / "multiworker" for path in [*found, Path(f"/run/user/{user}")]]
    found += [_shared_memory(user), *Path("/run").glob("multiworker*"), *Path("/run").glob("multiworker*/*")]
    if user == 0:
        found += [*Path("/run/user").glob("*/multiworker"), *Path("/dev/shm").glob("multiworker-*")]  # noqa: S108
    return [path for path in dict.fromkeys(found) if path.is_dir()]


def _given() -> Path | None:
    given = os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    return Path(given) if given else None


def _shared_memory(user: int) -> Path:
    return Path(f"/dev/shm/multiworker-{user}")  # noqa: S108 - its owner is checked
