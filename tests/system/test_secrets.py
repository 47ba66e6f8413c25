"""The Redis password is nowhere to be seen, and its user needs few rights."""

import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import acl
from tests.fix_redis import RedisServer
from tests.system.fix_system import QUEUE, Engine, command_line, kernel_file, until

PASSWORD = "s3cr3t-p4ssw0rd"


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Engine]:
    """An engine on a server with a password."""
    server = RedisServer(Path(tempfile.mkdtemp(prefix="mw-")), "--requirepass", PASSWORD)
    server.start()
    engine = Engine(tmp_path, f"unix://:{PASSWORD}@{server.socket}")
    try:
        yield engine
    finally:
        engine.close()
        server.stop()
        shutil.rmtree(server.directory)


def shown(engine: Engine) -> str:
    """Return what ps, the log and the scoreboard show."""
    pages = [path.read_bytes().decode("latin-1") for path in (engine.directory / "runtime").iterdir()]
    return "\n".join([*map(command_line, engine.processes()), engine.text(), *pages])


def environments(engine: Engine) -> str:
    """Return what the processes were started with."""
    return "\n".join(kernel_file(pid, "environ") for pid in engine.processes())


@pytest.mark.parametrize("source", ["environment", "option", "file"])
def test_it_is_in_no_command_line_and_no_log(guarded: Engine, source: str) -> None:
    # given a parent that knows the password
    if source != "environment":
        guarded.environment["REDIS_URL"] = ""
    if source == "file":
        (guarded.directory / "url").write_text(guarded.url)
        guarded.environment["REDIS_URL_FILE"] = "url"
    guarded.start("--log-level", "debug", *(["--redis", guarded.url] if source == "option" else []))
    assert source == "environment" or PASSWORD not in environments(guarded)
    # when it works, loses a child, reloads, stops and gives tasks back
    guarded.push("fail", 1, times=9)
    guarded.push("hold", 2)
    victim = next(entry["pid"] for entry in guarded.until_noted(2) if entry["n"] == 2)
    seen = shown(guarded)
    guarded.send(signal.SIGKILL, victim)
    guarded.until_noted(3)
    guarded.send(signal.SIGHUP)
    guarded.until_line("generation 2 is ready")
    seen += shown(guarded)
    guarded.send(signal.SIGINT)
    guarded.send(signal.SIGQUIT)
    assert guarded.finish() == 0
    # then nobody has seen it
    assert "multiworker: parent" in seen
    assert PASSWORD not in seen + guarded.text()


def test_a_reload_reads_a_new_one_from_its_file(guarded: Engine) -> None:
    # given a parent that has the password from a file
    url = guarded.directory / "url"
    url.write_text(guarded.url)
    guarded.environment |= {"REDIS_URL": "", "REDIS_URL_FILE": "url"}
    guarded.start()
    # when another one takes its place, in Redis and in the file, and the parent reloads
    guarded.client.config_set("requirepass", "an0ther")
    url.write_text(guarded.url.replace(PASSWORD, "an0ther"))
    guarded.send(signal.SIGHUP)
    guarded.until_ready(2, generation=2)
    # then the new children log in with it
    guarded.push("quick", 1)
    guarded.until_noted(1, "end")
    assert guarded.stop() == 0
    assert "an0ther" not in guarded.text()


def test_the_rights_of_a_worker_are_enough(engine: Engine) -> None:
    # given a parent whose Redis user may do no more than the manual says
    engine.client.execute_command("ACL", "SETUSER", "w", "on", ">w0rd", *acl.rules("worker", [QUEUE]).split())
    engine.environment["REDIS_URL"] = engine.url.replace("://", "://w:w0rd@")
    engine.start()
    # when tasks run, fail, lose their child, die and are given back
    engine.push("fail", 1, times=9)
    engine.push("quick", 2)
    engine.push("hold", 3)
    engine.client.lpush(QUEUE, "no task", "x" * 2_000_000)
    victim = next(entry["pid"] for entry in engine.until_noted(3) if entry["n"] == 3)
    engine.kill(victim)
    until(lambda: engine.runs()[3] == 2, "the second run", engine.text)
    until(lambda: len(engine.dead_letters()) == 2, "the dead letters", engine.text)
    engine.send(signal.SIGHUP)
    engine.until_line("generation 2 is ready")
    engine.open_gate()
    engine.until_noted(2, "end")
    # then nothing was refused
    assert engine.stop() == 0
    assert not engine.lines("(?i)permission")
    engine.client.execute_command("ACL", "DELUSER", "w")


def test_it_is_in_no_error(guarded: Engine) -> None:
    # given a wrong password
    guarded.environment["REDIS_URL"] = guarded.url.replace(PASSWORD, "wr0ng")
    # when a parent tries it
    guarded.start("--redis-wait", "0.5", wait=False)
    until(lambda: guarded.lines("waiting for Redis"), "a word about it", guarded.text)
    seen = shown(guarded)
    assert guarded.finish() == 69
    # then its complaint does not say it
    assert guarded.lines("(?i)waiting for Redis: .*(wrong|invalid)")
    assert "wr0ng" not in seen + guarded.text()
