"""Settings are read by a process of its own: whatever becomes of it, the parent obeys, and leaves nobody behind."""

import json
import os
import pty
import signal
import subprocess
import sys

import pytest

from multiworker.worker.words import Total
from tests.system.fix_system import Engine, command_line, multiworker, until

SLOW = """
import pathlib, time
pathlib.Path("asked").touch()
while not pathlib.Path("gate").exists():
    time.sleep(0.005)
SECRET_KEY = "x"
"""
PATIENCE = """
from multiworker.cli import project
from multiworker.supervisor import resolver
project.PATIENCE = 1e6
resolver.PATIENCE = {seconds}
from multiworker.cli import main
main()
"""


@pytest.fixture
def slow(engine: Engine) -> Engine:
    """An engine beside Django settings that do not come to an end before the gate is opened; not started yet."""
    (engine.directory / "slow.py").write_text(SLOW)
    (engine.directory / "config.toml").write_text("procs = 2\n")
    return engine


def until_asked(engine: Engine) -> None:
    """Wait until the settings are being imported."""
    until((engine.directory / "asked").exists, "the settings", engine.text)


def begin(engine: Engine, *options: str, **how: str) -> None:
    """Start a parent that does not get its settings yet."""
    engine.start("--settings", "slow", *options, wait=False, **how)
    until_asked(engine)


def reload_slowly(engine: Engine, patience: float = 1e6) -> list[int]:
    """Start a parent with so many seconds of patience, and have it read settings that take long.

    Returns:
        Its children.
    """
    engine.command = [sys.executable, "-c", PATIENCE.format(seconds=patience)]
    engine.start("--config", "config.toml", procs="2")
    children = engine.until_ready(2)
    (engine.directory / "config.toml").write_text("procs = 2\nconcurrency = 3\nsettings = 'slow'\n")
    engine.send(signal.SIGHUP)
    until_asked(engine)
    return children


def titled(engine: Engine, title: str) -> int:
    """Return the process that shows such a title."""

    def found() -> int:
        return next((pid for pid in engine.processes() if command_line(pid) == title), 0)

    return until(found, title, engine.text)


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGTERM, -signal.SIGTERM), (signal.SIGINT, 130), (signal.SIGQUIT, -signal.SIGQUIT)],
    ids=str,
)
def test_a_stop_before_the_settings_are_known(slow: Engine, number: signal.Signals, code: int) -> None:
    # given a parent that waits for its settings
    begin(slow)
    titled(slow, "multiworker: template")
    # when it is told to stop
    slow.send(number)
    # then it does, and nothing has happened
    assert slow.exit_code() == code
    until(lambda: not slow.processes(), "the end of all processes", slow.text)
    assert slow.text() == ""
    assert slow.board() is None


def test_a_terminal_that_closes_before_the_settings_are_known_is_a_stop(slow: Engine) -> None:
    master, slave = pty.openpty()
    begin(slow, before=f"exec 0<>{os.ttyname(slave)}")
    os.close(slave)
    os.close(master)
    assert slow.exit_code() == -signal.SIGHUP
    until(lambda: not slow.processes(), "the end of all processes", slow.text)


def test_what_a_parent_is_told_before_it_knows_its_settings_is_done_then(slow: Engine) -> None:
    # given a parent that waits for its settings
    begin(slow)
    # when it is told to reload, and to have one child more
    slow.send(signal.SIGHUP)
    slow.send(signal.SIGTTIN)
    slow.open_gate()
    # then it starts, and does so
    slow.until_line("SIGTTIN from")
    slow.until_line("generation 2 is ready")
    slow.until_ready(2, 2)
    assert slow.stop() == 0


def test_a_template_that_dies_without_orders_is_replaced(slow: Engine) -> None:
    begin(slow)
    slow.kill(titled(slow, "multiworker: template"))
    slow.open_gate()
    slow.until_ready(2)
    assert not slow.lines("ERROR")
    assert slow.stop() == 0


def test_the_end_of_who_reads_the_settings_is_the_parents_at_first(slow: Engine) -> None:
    begin(slow)
    slow.send(signal.SIGKILL, titled(slow, "multiworker: settings"))
    assert slow.exit_code() == 70
    (line,) = slow.text().splitlines()
    assert "the process that reads the settings ended: signal 9 (SIGKILL)" in line
    until(lambda: not slow.processes(), "the end of all processes", slow.text)


def test_help_and_errors_are_all_that_is_seen() -> None:
    shown = subprocess.run([*multiworker(), "start", "--help"], capture_output=True, text=True, check=False)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout.startswith("Usage: multiworker start")
    after_dashes = subprocess.run([*multiworker(), "--", "start", "--procs", "x"], capture_output=True, check=False)
    assert after_dashes.returncode == 64


def test_whoever_has_begun_without_settings_writes_its_log_as_they_say(engine: Engine) -> None:
    # given handlers that the template cannot import
    engine.write_handlers(("CODE = ", "raise RuntimeError('broken')\nCODE = "))
    # when the log is to be JSON
    engine.start("--preload", "--log-format", "json", wait=False)
    assert engine.exit_code() == 78
    # then every line is, the template's, too
    lines = [json.loads(line) for line in engine.text().splitlines()]
    assert {"multiworker.supervisor", "multiworker.worker"} == {line["logger"] for line in lines}


def test_a_parent_of_that_name_leaves_the_second_no_template(engine: Engine) -> None:
    engine.start("--name", "blue")
    first = set(engine.processes())
    second = subprocess.run(
        [*multiworker(), "start", "--name", "blue"],
        env=engine._variables(),
        capture_output=True,
        text=True,
        check=False,
        process_group=0,
    )
    assert second.returncode == 75
    assert len(second.stderr.splitlines()) == 1
    assert set(engine.processes()) == first
    assert engine.stop() == 0


def test_a_parent_whose_settings_hang_at_a_reload_watches_and_obeys(slow: Engine) -> None:
    # given a parent that reads settings that hang
    children = reload_slowly(slow)
    # when a child dies
    slow.kill(children[0])
    # then it is replaced, with the old settings
    until(lambda: len(set(slow.ready(1)) - {children[0]}) == 2, "the next child", slow.text)
    # and a stop is obeyed
    assert slow.stop() == 0
    assert not slow.lines("refused|generation 2")


def test_a_reload_that_was_asked_for_while_settings_are_read_is_another_one(slow: Engine) -> None:
    # given a parent that reads settings that take long
    reload_slowly(slow)
    board = slow.board()
    assert board
    # when it is told to reload again, as the file says something else now
    (slow.directory / "config.toml").write_text("procs = 1\n")
    slow.send(signal.SIGHUP)
    until(lambda: board.totals[Total.ASKED] == 2, "the second request", slow.text)
    assert board.totals[Total.DECIDED] == 0
    slow.open_gate()
    # then it does what the file says now
    slow.until_ready(1, 3)
    until(lambda: board.totals[Total.LOADED] == 2, "the answer to both", slow.text)
    assert slow.stop() == 0


def test_settings_that_take_too_long_are_refused(slow: Engine) -> None:
    children = reload_slowly(slow, patience=2)
    slow.until_line("reload refused, .*: the settings could not be read within 2 s")
    assert slow.until_ready(2, 1) == children  # and what has hung is gone
    slow.open_gate()
    until(lambda: slow.call("reload", "--wait").code == 0, "settings that are read in time", slow.text)
    assert slow.stop() == 0


def test_the_end_of_who_reads_the_settings_is_a_reason_to_refuse_them(slow: Engine) -> None:
    slow.start("--config", "config.toml", procs="2")
    children = slow.until_ready(2)
    (slow.directory / "config.toml").write_text("settings = 'slow'\n")
    waiting = slow.begin("reload", "--wait")
    until_asked(slow)
    slow.send(signal.SIGKILL, titled(slow, "multiworker: settings"))
    out, err = waiting.communicate()
    assert (waiting.returncode, out) == (78, "")
    assert "refused, the old code runs on: the process that reads the settings ended: signal 9 (SIGKILL)" in err
    assert slow.until_ready(2, 1) == children
    assert slow.stop() == 0
