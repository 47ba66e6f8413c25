"""The Redis password is nowhere to be seen."""

import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fix_redis import RedisServer
from tests.system.fix_system import Engine, command_line, until

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
    """Return what ps and the log show."""
    return "\n".join([*map(command_line, engine.processes()), engine.text()])


@pytest.mark.parametrize("by_option", [False, True], ids=["environment", "option"])
def test_it_is_in_no_command_line_and_no_log(guarded: Engine, *, by_option: bool) -> None:
    # given a parent that knows the password
    if by_option:
        guarded.environment["REDIS_URL"] = ""
    guarded.start("--log-level", "debug", *(["--redis", guarded.url] if by_option else []))
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
