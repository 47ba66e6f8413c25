"""A locked file that says which process is the one."""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from multiworker.supervisor import pidfile


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the file is to be."""
    return tmp_path / "pid"


def test_a_lock_writes_the_pid(path: Path) -> None:
    path.write_text("a longer text than a pid\n")
    pidfile.lock(path)
    assert path.read_text() == f"{os.getpid()}\n"


def test_a_locked_file_says_by_whom(path: Path) -> None:
    pidfile.lock(path)
    with pytest.raises(pidfile.AlreadyRunningError, match=f"is locked by process {os.getpid()}, which is running"):
        pidfile.lock(path)
    assert path.read_text() == f"{os.getpid()}\n"


def test_a_lock_ends_with_its_descriptor(path: Path) -> None:
    os.close(pidfile.lock(path))
    pidfile.lock(path)


def test_a_lock_is_not_handed_to_programs(path: Path) -> None:
    assert not os.get_inheritable(pidfile.lock(path))


def test_a_link_is_not_followed(path: Path, tmp_path: Path) -> None:
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        pidfile.lock(path)


def test_a_file_is_removed_by_its_owner_only(path: Path) -> None:
    fd = pidfile.lock(path)
    path.unlink()
    path.write_text("another's\n")
    pidfile.remove(path, fd)
    assert path.exists()


def test_a_file_is_removed(path: Path) -> None:
    fd = pidfile.lock(path)
    pidfile.remove(path, fd)
    assert not path.exists()
    pidfile.remove(path, fd)


def test_a_file_that_its_last_owner_removes_meanwhile_is_made_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given an owner that leaves between our open and our lock
    lock: Callable[[int, int], None] = fcntl.flock

    def leave_then_lock(fd: int, how: int) -> None:
        monkeypatch.setattr(fcntl, "flock", lock)
        path.unlink()
        lock(fd, how)

    monkeypatch.setattr(fcntl, "flock", leave_then_lock)
    # when we lock
    fd = pidfile.lock(path)
    # then it is a file that others see
    assert os.path.samestat(path.stat(), os.fstat(fd))
    assert path.read_text() == f"{os.getpid()}\n"
