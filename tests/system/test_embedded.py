"""``--redis embedded:DIR``: a private server that the parent runs, and what its data survive."""

import os
import shutil
import signal
import socket
import stat
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from multiworker.supervisor.embedded import find_server, server_command
from multiworker.worker.client import Client
from multiworker.worker.embedded import socket_path
from multiworker.worker.errors import Exit, SettingsError
from tests.fix_redis import BINARIES
from tests.system.fix_system import Engine, until


class EmbeddedEngine(Engine):
    """An engine whose parent runs the server.

    Args:
        directory: its working directory.
        data: the server's directory.
    """

    def __init__(self, directory: Path, data: Path) -> None:
        super().__init__(directory, f"unix://{data}/redis.sock")
        self.data = data
        self.environment["REDIS_URL"] = f"embedded:{data}"

    def until_ready(self, count: int, generation: int | None = None) -> list[int]:
        """Wait until so many children are ready; the server is one more process of the parent."""
        return until(lambda: (pids := self.ready(generation))[count - 1 :] and pids, "ready children", self.text)

    def servers(self) -> list[int]:
        """Return the pids of the servers that run."""
        return [pid for pid in self.processes() if any(name in _program(pid) for name in BINARIES)]

    def until_server(self, *but: int) -> int:
        """Wait until a server runs that is none of these, and answers."""
        pid = until(lambda: [pid for pid in self.servers() if pid not in but], "a server", self.text)[0]
        until(self._answers, "the server's answer", self.text)
        return pid

    def _answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except redis.ConnectionError:  # it is not there yet, or still loads its data
            return False


def _program(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


@pytest.fixture
def data() -> Iterator[Path]:
    """A directory for the server, with a short name, not made yet."""
    above = Path(tempfile.mkdtemp(prefix="mw-"))
    yield above / "data"
    shutil.rmtree(above)


@pytest.fixture
def engine(tmp_path: Path, data: Path) -> Iterator[EmbeddedEngine]:
    """An engine on an embedded server, not started yet; all its processes are gone after the test."""
    made = EmbeddedEngine(tmp_path, data)
    try:
        yield made
    finally:
        made.close()


def test_server_keeps_an_append_only_file_and_is_for_this_user_only(engine: EmbeddedEngine) -> None:
    # given a umask that lets everybody read and write
    before = os.umask(0)
    try:
        # when
        engine.start()
    finally:
        os.umask(before)
    # then
    config = engine.client.config_get()
    assert config["appendonly"] == "yes"
    assert config["dir"] == str(engine.data)
    assert config["port"] == "0"
    status = (engine.data / "redis.sock").stat()
    assert stat.S_ISSOCK(status.st_mode)
    assert stat.S_IMODE(status.st_mode) == 0o700
    assert stat.S_IMODE(engine.data.stat().st_mode) == 0o700
    kept = [file for file in engine.data.rglob("*.aof*") if file.is_file()]
    assert kept
    assert not [file for file in kept if file.stat().st_mode & 0o077]


def test_memory_is_taken_from_children_before_the_server(engine: EmbeddedEngine) -> None:
    engine.start()
    scores = [int(Path(f"/proc/{pid}/oom_score_adj").read_text()) for pid in (engine.pid, engine.until_server())]
    assert scores[0] == scores[1] < int(Path(f"/proc/{engine.until_ready(2)[0]}/oom_score_adj").read_text())
    assert engine.stop() == 0


def test_killed_server_is_started_again_with_nothing_lost(engine: EmbeddedEngine) -> None:
    # given tasks that run, and tasks that wait
    engine.start("--concurrency", "5")
    engine.push("hold", *range(10))
    engine.until_noted(10)
    engine.push("quick", *range(10, 200))
    first = engine.until_server()
    # when
    engine.send(signal.SIGKILL, first)
    # then
    assert engine.until_server(first) != first
    engine.push("quick", *range(200, 210))
    engine.open_gate()
    engine.until_noted(210, "end")
    until(lambda: not engine.left_in_redis(), "an empty queue", engine.text)
    assert engine.stop() == Exit.OK
    assert engine.runs("end") == Counter(range(210))
    assert engine.conserved()["done"] == 210


def test_server_that_dies_often_is_started_again_each_time(engine: EmbeddedEngine) -> None:
    # given
    engine.start()
    killed: list[int] = []
    # when
    for n in range(3):
        killed.append(engine.until_server(*killed))
        engine.send(signal.SIGKILL, killed[-1])
        engine.until_server(*killed)
        engine.push("quick", n)
    # then
    engine.until_noted(3, "end")
    assert engine.stop() == Exit.OK


def test_data_survive_a_stop_and_start_of_everything(engine: EmbeddedEngine) -> None:
    # given one task that runs, and others that wait for it
    engine.start("--concurrency", "1", "--grace", "0.1", procs=1)
    engine.push("hold", *range(20))
    engine.until_noted(1)
    # when
    assert engine.stop() == Exit.OK
    engine.open_gate()
    engine.start()
    # then
    engine.until_noted(20, "end")
    assert engine.stop() == Exit.OK
    assert engine.runs("end") == Counter(range(20))


def test_second_parent_on_the_same_directory_is_refused(engine: EmbeddedEngine, tmp_path: Path) -> None:
    # given
    engine.start()
    server = engine.until_server()
    (tmp_path / "second").mkdir()
    second = EmbeddedEngine(tmp_path / "second", engine.data)
    try:
        # when
        second.start(wait=False)
        # then
        assert second.exit_code() == Exit.TEMPFAIL
        assert str(engine.pid) in second.text()
        assert not second.processes()
    finally:
        second.close()
    assert engine.servers() == [server]
    engine.push("quick", 1)
    engine.until_noted(1, "end")


def test_server_ends_with_its_parent(engine: EmbeddedEngine) -> None:
    # given
    engine.start()
    engine.until_server()
    # when
    code = engine.stop()  # sees that no process is left
    # then
    assert code == Exit.OK
    assert engine.text().index("bye bye") < engine.text().index("claimed")  # the server, then the parent
    assert not (engine.data / "redis.sock").exists()


def test_server_ends_with_a_parent_that_is_killed(engine: EmbeddedEngine) -> None:
    # given
    engine.start()
    engine.until_server()
    # when
    engine.send(signal.SIGKILL)
    # then
    until(lambda: not engine.processes(), "the end of all processes", engine.text)


def test_next_parent_waits_for_the_server_of_a_killed_one(engine: EmbeddedEngine) -> None:
    # given a server that cannot end yet, for a script keeps it busy
    engine.start()
    first = engine.until_server()
    engine.client.set("kept", "yes")
    engine.client.config_set("lua-time-limit", 1)
    with socket.socket(socket.AF_UNIX) as busy:
        busy.connect(f"{engine.data}/redis.sock")
        busy.sendall(b"EVAL 'while true do end' 0\r\n")
        engine.send(signal.SIGKILL)
        engine.exit_code()
        # when
        engine.start(wait=False)
        # then
        engine.until_line("cannot start yet")
        assert engine.servers() == [first]
        engine.client.script_kill()
    engine.until_server(first)
    assert engine.client.get("kept") == "yes"
    engine.until_ready(2)
    engine.push("quick", 1)
    engine.until_noted(1, "end")


def test_directory_with_a_long_name(tmp_path: Path, data: Path) -> None:
    # given a name that fits no socket, and a parent in another environment than the client
    long = data / ("d" * 120) / ("e" * 120)
    engine = EmbeddedEngine(tmp_path, long)
    engine.environment["XDG_RUNTIME_DIR"] = str(tmp_path)
    path = socket_path(f"embedded:{long}")
    try:
        # when
        engine.start()
        client = Client(f"embedded:{long}")
        client.ask(("LPUSH", "async_tasks", '{"type": "quick", "data": {"n": 1}}'))
        client.close()
        # then
        engine.until_noted(1, "end")
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
        assert engine.stop() == Exit.OK
        assert not path.exists()
    finally:
        engine.close()


def test_short_socket_never_lies_in_a_directory_of_somebody_else(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # given a user whose directory another one has made
    nobody = 4_000_000_000 + os.getpid()
    theirs = Path(f"/dev/shm/multiworker-{nobody}")
    theirs.mkdir(mode=0o700)
    monkeypatch.setattr(os, "getuid", lambda: nobody)
    try:
        # when, then
        with pytest.raises(SettingsError, match="other users"):
            socket_path(f"embedded:{data}/{'d' * 120}")
    finally:
        theirs.rmdir()


def test_one_directory_has_one_socket_however_it_is_spelt(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # given
    long = data / ("d" * 120)
    long.mkdir(parents=True)
    (data / "link").symlink_to(long)
    monkeypatch.chdir(data)
    # when
    paths = {socket_path(f"embedded:{spelling}") for spelling in (long, "link", f"../data/{long.name}/", data / "link")}
    # then
    assert len(paths) == 1


def _fake_server(directory: Path, name: str, version: str) -> None:
    directory.mkdir(exist_ok=True)
    script = directory / name
    script.write_text(f"#!/bin/sh\necho 'Redis server v={version} sha=00000000:0 malloc=libc bits=64'\n")
    script.chmod(0o755)


def test_server_that_is_too_old_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # given
    monkeypatch.setenv("PATH", str(tmp_path))
    _fake_server(tmp_path, "redis-server", "6.0.16")
    _fake_server(tmp_path, "valkey-server", "8.0.1")
    # when, then
    assert find_server() == str(tmp_path / "valkey-server")


def test_server_that_would_pass_over_the_data_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # given data of Redis 7, whose append-only file is a directory that older ones do not look at
    _fake_server(tmp_path / "bin", "redis-server", "6.2.14")
    monkeypatch.setenv("PATH", f"{tmp_path}/bin")
    assert server_command(tmp_path, tmp_path / "redis.sock")[0] == f"{tmp_path}/bin/redis-server"
    (tmp_path / "appendonlydir").mkdir()
    # when, then
    with pytest.raises(SettingsError, match=r"7\.0 or newer"):
        server_command(tmp_path, tmp_path / "redis.sock")
