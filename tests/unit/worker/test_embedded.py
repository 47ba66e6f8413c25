"""Where the private Redis of embedded:DIR lives."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from multiworker.worker.embedded import directory, socket_path
from multiworker.worker.errors import SettingsError


def test_a_directory_that_is_given_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert directory("embedded:data") == tmp_path.resolve() / "data"
    assert directory(f"embedded:{tmp_path}") == tmp_path.resolve()


def test_a_home_directory_is_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert directory("embedded:~/data") == tmp_path.resolve() / "data"


@pytest.mark.parametrize(
    ("state", "expected"), [("state", "state/multiworker/redis"), ("", ".local/state/multiworker/redis")]
)
def test_without_a_directory_the_users_state_is_taken(
    state: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / state) if state else "")
    assert directory("embedded:") == tmp_path.resolve() / expected


def test_an_unknown_users_home_is_refused() -> None:
    with pytest.raises(SettingsError, match="no such home directory"):
        directory("embedded:~nobody-of-this-name/data")


def test_the_socket_lies_in_a_directory_with_a_short_name(tmp_path: Path) -> None:
    short = Path(f"/tmp/mw-{os.getpid()}")
    assert socket_path(f"embedded:{short}") == short.resolve() / "redis.sock"


def test_for_a_long_name_there_is_a_short_socket_that_everybody_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = f"embedded:{tmp_path}/{'x' * 120}"
    path = socket_path(long)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert socket_path(long) == path != socket_path(long + "y")
    with socket.socket(socket.AF_UNIX) as sock:
        path.unlink(missing_ok=True)
        sock.bind(str(path))
    path.unlink()


@pytest.fixture
def another_user(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The private directory of a user that this process takes itself for; it may be made, as anything."""
    user = 3_000_000_000 + os.getpid()
    monkeypatch.setattr(os, "getuid", lambda: user)
    path = Path(f"/dev/shm/multiworker-{user}")
    yield path
    if path.is_dir():
        path.rmdir()
    path.unlink(missing_ok=True)


def test_a_directory_of_somebody_else_is_not_trusted_with_a_socket(another_user: Path, tmp_path: Path) -> None:
    another_user.mkdir()
    with pytest.raises(SettingsError, match="can be written by other users"):
        socket_path(f"embedded:{tmp_path}/{'x' * 120}")


def test_a_directory_that_cannot_be_made_is_told(another_user: Path, tmp_path: Path) -> None:
    another_user.touch()
    with pytest.raises(SettingsError, match="cannot make /dev/shm"):
        socket_path(f"embedded:{tmp_path}/{'x' * 120}")
