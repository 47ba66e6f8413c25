"""Processes by pid and birth, and where scoreboards lie."""

import os
import subprocess
import time
from pathlib import Path

import pytest

from multiworker.worker.host import birth, runtime_directories, runtime_directory


def test_a_process_has_one_birth_and_none_once_it_has_ended() -> None:
    # given a process
    process = subprocess.Popen(["sleep", "1000"])
    born = birth(process.pid)
    assert born >= birth(os.getpid()) > 0
    assert birth(process.pid) == born
    # when it ends, then it counts as gone, reaped or not
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert birth(process.pid) == 0
    process.wait()
    assert birth(process.pid) == 0


def test_a_name_with_brackets_and_spaces_does_no_harm() -> None:
    pid = os.fork()
    if pid == 0:
        Path("/proc/self/comm").write_text("a) Z (b 1 2")
        time.sleep(1000)
    try:
        while "a) Z" not in Path(f"/proc/{pid}/comm").read_text():
            continue
        assert birth(pid) >= birth(os.getpid())
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    return monkeypatch


def test_the_runtime_directory_is_systemds_then_the_sessions_then_a_private_one(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert runtime_directory() == Path(f"/dev/shm/multiworker-{os.getuid()}")
    environment.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert runtime_directory() == tmp_path / "multiworker"
    assert (tmp_path / "multiworker").stat().st_mode & 0o777 == 0o700
    environment.setenv("RUNTIME_DIRECTORY", f"{tmp_path / 'given'}:{tmp_path / 'other'}")
    assert runtime_directory() == tmp_path / "given"


def test_a_runtime_directory_that_is_a_link_is_not_trusted(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "multiworker").symlink_to(tmp_path / "elsewhere")
    environment.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with pytest.raises(PermissionError, match="belongs to another user"):
        runtime_directory()


def test_commands_look_where_a_parent_may_have_written(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # given a parent's directory by session, and the one for those without any
    shared = runtime_directory()
    environment.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    session = runtime_directory()
    # then a shell finds both, its own first, each once
    found = runtime_directories()
    assert found[0] == session
    assert shared in found
    assert len(set(found)) == len(found)
    # and a command of a systemd unit looks nowhere else
    environment.setenv("RUNTIME_DIRECTORY", str(tmp_path / "unit"))
    assert runtime_directories() == [tmp_path / "unit"]
