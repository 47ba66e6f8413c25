"""``etc/multiworker.service``, which operators copy: systemd knows every word of it, and finds little to fear."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import click
import pytest

from multiworker.cli.root import command
from multiworker.worker.errors import Exit
from tests.system.fix_system import multiworker

UNIT = Path(__file__).parents[2] / "etc" / "multiworker.service"
EXPOSURE = 1.5
"""The highest exposure, of 10, that systemd may find."""
NEEDED = {
    "clone", "dup2", "epoll_wait", "execve", "fcntl", "flock", "kill", "mmap", "prctl", "rt_sigtimedwait",
    "sched_setaffinity", "sendto", "setitimer", "setpgid", "setrlimit", "waitid",
}  # fmt: skip
"""System calls of parent, children and an embedded Redis that a filter could leave out."""


def systemd_analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run systemd-analyze; without it the test is skipped, or fails under CI."""
    program = shutil.which("systemd-analyze")
    if not program:
        missing = "systemd-analyze is not on PATH (Debian, Ubuntu: apt-get install systemd)"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(missing)
    environment = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "SYSTEMD_COLORS": "0", "SYSTEMD_PAGER": ""}
    return subprocess.run([program, *arguments], env=environment, capture_output=True, text=True, check=False)


def copied(directory: Path, *more: str) -> Path:
    """Return a copy of the unit for a command that is there, with more lines in its [Service]."""
    text = UNIT.read_text().replace("/srv/app/.venv/bin/multiworker", multiworker()[0])
    path = directory / UNIT.name
    path.write_text(text.replace("[Service]\n", "\n".join(["[Service]", *more, ""])))
    return path


def values(key: str) -> list[str]:
    """Return the values of a key, in order."""
    return re.findall(rf"^{key}=(.*)$", UNIT.read_text(), re.MULTILINE)


def test_systemd_has_nothing_to_say_about_the_unit(tmp_path: Path) -> None:
    done = systemd_analyze("verify", "--man=no", copied(tmp_path))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("line", ["NoSuchKey=1", "RestartSec=soon", "ProtectProc=somewhat"])
def test_systemd_would_say_so_if_a_line_were_wrong(tmp_path: Path, line: str) -> None:
    assert f"{UNIT.name}:" in systemd_analyze("verify", "--man=no", copied(tmp_path, line)).stderr


def test_little_is_exposed(tmp_path: Path) -> None:
    done = systemd_analyze("security", "--offline=true", "--no-pager", copied(tmp_path))
    match = re.search(r"Overall exposure level for multiworker\.service: (\d+\.\d+)", done.stdout)
    assert match, done.stdout + done.stderr
    assert float(match[1]) <= EXPOSURE, done.stdout


def system_calls(group: str) -> set[str]:
    """Return the system calls of a group, and of the groups in it."""
    shown = systemd_analyze("syscall-filter", "--no-pager", group).stdout.splitlines()
    names = {line.strip() for line in shown if line.startswith("    ") and not line.strip().startswith("#")}
    return {call for name in names for call in (system_calls(name) if name.startswith("@") else {name})}


def test_the_filter_leaves_what_the_worker_needs() -> None:
    allowed: set[str] = set()
    for group in values("SystemCallFilter"):
        calls = system_calls(group.lstrip("~"))
        assert calls, group
        allowed = allowed - calls if group.startswith("~") else allowed | calls
    assert allowed >= NEEDED
    assert not {"mount", "ptrace", "reboot", "setuid"} & allowed


@pytest.mark.parametrize(("key", "name"), [("ExecStart", "start"), ("ExecReload", "reload")])
def test_the_commands_and_their_options_exist(key: str, name: str) -> None:
    (line,) = values(key)
    program, *arguments = line.split()
    assert (Path(program).name, arguments[0]) == ("multiworker", name)
    with click.Context(command) as context:
        known = command.get_command(context, name)
    assert known
    options = {option for param in known.params for option in param.opts}
    assert {word for word in arguments if word.startswith("-")} <= options


def test_what_a_restart_cannot_cure_is_not_restarted() -> None:
    (codes,) = values("RestartPreventExitStatus")
    assert set(map(int, codes.split())) == {Exit.USAGE, Exit.CANTCREAT, Exit.CONFIG}
