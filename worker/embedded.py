"""Where the private Redis of ``embedded:DIR`` lives; the parent starts it, clients find it."""

import hashlib
import os
from pathlib import Path

from multiworker.worker.addresses import EMBEDDED
from multiworker.worker.errors import SettingsError

_MAX_SOCKET_PATH = 100  # sockaddr_un holds 107 bytes; redis-server adds a suffix to its temporary names


def directory(url: str) -> Path:
    """Return the data directory of an ``embedded:[DIR]`` URL, absolute and without links.

    Args:
        url: without DIR, a directory of this user's under XDG_STATE_HOME (else ~/.local/state) is taken.

    Raises:
        SettingsError: it begins with the home of a user who is unknown.
    """
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    given = url.removeprefix(f"{EMBEDDED}:") or f"{state}/multiworker/redis"
    try:
        return Path(given).expanduser().resolve()
    except RuntimeError:
        raise SettingsError(f"--redis: no such home directory: {given}") from None


def socket_path(url: str) -> Path:
    """Return the unix socket of the server of an ``embedded:[DIR]`` URL.

    It lies in DIR, or if that name is too long for a socket, in a directory of this user's under /dev/shm. Whoever asks
    finds the same one, whatever the environment.

    Raises:
        SettingsError: that directory cannot be made, or somebody else has made it.
    """
    path = directory(url) / "redis.sock"
    if len(os.fsencode(path)) <= _MAX_SOCKET_PATH:
        return path
    digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
    return _private_directory() / f"redis-{digest}.sock"


def _private_directory() -> Path:
    """Return a directory in which nobody else can put a socket for us to take for our own server's."""
    path = Path(f"/dev/shm/multiworker-{os.getuid()}")  # noqa: S108 - its owner is checked
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        found = path.lstat()
    except OSError as error:
        raise SettingsError(f"--redis: cannot make {path}: {error.strerror}; give a shorter DIR") from None
    if found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise SettingsError(f"--redis: {path} can be written by other users; remove it, or give a shorter DIR")
    return path
