"""Where the private Redis of ``embedded:DIR`` lives; the parent starts it, clients find it."""

import hashlib
import os
from pathlib import Path

from multiworker.worker.errors import SettingsError

PREFIX = "embedded:"
_MAX_SOCKET_PATH = 100  # sockaddr_un holds 107 bytes; redis-server adds a suffix to its temporary names


def is_embedded(url: str) -> bool:
    """Tell whether a Redis URL means a private server."""
    return url.startswith(PREFIX)


def directory(url: str) -> Path:
    """Return the data directory of an ``embedded:[DIR]`` URL, absolute.

    Args:
        url: without DIR, a directory of this user's under XDG_STATE_HOME (else ~/.local/state) is taken.
    """
    given = url.removeprefix(PREFIX)
    if given:
        return Path(given).expanduser().absolute()
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(state).expanduser() / "multiworker" / "redis"


def socket_path(url: str) -> Path:
    """Return the unix socket of the server of an ``embedded:[DIR]`` URL.

    Raises:
        SettingsError: there is no path short enough for a socket.
    """
    path = directory(url) / "redis.sock"
    if len(os.fsencode(path)) <= _MAX_SOCKET_PATH:
        return path
    digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
    short = Path(os.environ.get("XDG_RUNTIME_DIR") or "/dev/shm", f"multiworker-{os.getuid()}-{digest}.sock")  # noqa: S108
    if len(os.fsencode(short)) > _MAX_SOCKET_PATH:
        raise SettingsError(f"--redis: the directory's name is too long for a socket: {path}")
    return short
