"""``etc/supervisord.conf``, which operators copy, under a real supervisord."""

import getpass
import os
import re
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from multiworker.supervisor.children import DRAIN_MARGIN
from multiworker.supervisor.nursery import SWEEP_TIME
from multiworker.supervisor.redis_server import STOP_TIME
from multiworker.worker.errors import Exit
from multiworker.worker.settings import Settings
from tests.system.fix_supervisord import Supervisord, adapted
from tests.system.fix_system import Engine, multiworker, until

SAMPLE = (Path(__file__).parents[2] / "etc" / "supervisord.conf").read_text()


def value(key: str) -> str:
    """Return a value of the sample."""
    (found,) = re.findall(rf"^{key}=(.*)$", SAMPLE, re.MULTILINE)
    return str(found)


@pytest.fixture
def supervisord(engine: Engine) -> Iterator[Supervisord]:
    """A supervisord that has started the sample; all its processes are gone after the test."""
    settings = engine.directory / "multiworker.toml"
    settings.write_text('handler = ["h:run"]\nprocs = 2\n')
    url = engine.directory / "redis-url"
    url.write_text(engine.url)
    runtime = engine.directory / "runtime"
    runtime.mkdir()
    replacements = {
        "/srv/app/.venv/bin/multiworker": multiworker()[0],
        "/srv/app": str(engine.directory),
        "/etc/multiworker/multiworker.toml": str(settings),
        "/etc/multiworker/redis-url": str(url),
        "/var/log/multiworker.log": str(engine.log_file),
        "user=multiworker": f"user={getpass.getuser()}",
    }
    home = Path(tempfile.mkdtemp(prefix="mw-"))
    started = Supervisord(adapted(SAMPLE, replacements), home, {"RUNTIME_DIRECTORY": str(runtime)})
    try:
        yield started
    finally:
        started.close()
        shutil.rmtree(home)


def test_it_starts_reloads_and_stops_in_order(engine: Engine, supervisord: Supervisord) -> None:
    # given a program that has started
    parent = supervisord.pid()
    engine.until_line("generation 1 is ready: 2 children")
    engine.push("hold", 1, gate="first")
    engine.until_noted(1)
    # when its parent is told to reload
    engine.write_handlers(("one", "two"))
    os.kill(parent, signal.SIGHUP)
    # then it does
    engine.until_line("generation 2 is ready: 2 children")
    engine.open_gate("first")
    until(lambda: len(supervisord.others()) == 4, "the end of the old children", engine.text)
    engine.push("hold", 2, gate="second")
    assert engine.until_noted(2)[1]["code"] == "two"
    assert supervisord.pid() == parent
    # and when it is stopped, what runs comes to its end
    supervisord.control("signal", "TERM", "multiworker")
    engine.until_line("SIGTERM from")
    engine.open_gate("second")
    until(lambda: "EXITED" in supervisord.control("status"), "the program's end", engine.text)
    assert engine.runs("end") == {1: 1, 2: 1}
    # and nothing is left, neither of it nor of supervisord
    assert not supervisord.others()
    assert engine.conserved()["done"] == 2
    assert supervisord.shut_down() == 0


def test_a_stop_waits_for_tasks_and_leaves_nothing_behind(engine: Engine, supervisord: Supervisord) -> None:
    # given a task
    supervisord.pid()
    engine.push("quick", 1, seconds=1)
    engine.until_noted(1)
    # when the program is stopped, then the task comes to its end, and all processes
    assert "stopped" in supervisord.control("stop", "multiworker")
    assert engine.runs("end") == {1: 1}
    assert not supervisord.others()
    # and it starts again
    assert "started" in supervisord.control("start", "multiworker")
    engine.push("quick", 2)
    engine.until_noted(2, "end")
    assert supervisord.shut_down() == 0
    assert not supervisord.others()


def test_supervisord_waits_longer_than_the_parent() -> None:
    assert float(value("stopwaitsecs")) > Settings().grace + DRAIN_MARGIN + SWEEP_TIME + STOP_TIME


def test_what_another_start_cannot_cure_is_not_started_again() -> None:
    assert set(map(int, value("exitcodes").split(","))) == {Exit.OK, Exit.USAGE, Exit.CANTCREAT, Exit.CONFIG}
