"""A locked file that says which process is the one."""

import fcntl
import os
from pathlib import Path

from multiworker.worker.errors import MultiworkerError


class AlreadyRunningError(MultiworkerError):
    """Another process holds the lock."""


def lock(path: Path) -> int:
    """Lock a file for this process and write its pid into it. The kernel lets go of it when the process ends.

    Args:
        path: made if need be.

    Returns:
        The file descriptor that holds the lock; forked children must close it, or they hold it too.

    Raises:
        AlreadyRunningError: somebody else has it.
        OSError: it cannot be written.
    """
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            other = os.read(fd, 32).decode("ascii", "replace").strip()
            os.close(fd)
            raise AlreadyRunningError(f"{path} is locked by process {other or '?'}, which is running") from None
        if _is_at(path, fd):
            break
        os.close(fd)  # its last owner removed it between the two calls above
    os.ftruncate(fd, 0)
    os.write(fd, f"{os.getpid()}\n".encode())
    return fd


def remove(path: Path, fd: int) -> None:
    """Remove a locked file, unless somebody else has put another one in its place.

    Args:
        path: as given to lock().
        fd: as returned by lock(); it stays locked.
    """
    if _is_at(path, fd):
        path.unlink(missing_ok=True)


def _is_at(path: Path, fd: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(fd))
    except FileNotFoundError:
        return False
