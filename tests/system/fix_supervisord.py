"""A real supervisord, which runs one program of a configuration file."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from tests.system.fix_system import system_processes, until
from tests.waiting import PAUSE

BASE = """
[supervisord]
nodaemon=true
logfile={home}/supervisord.log
pidfile={home}/supervisord.pid
[unix_http_server]
file={home}/control
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]
serverurl=unix://{home}/control
[include]
files={home}/program.conf
"""
"""What an installed supervisord has of its own."""


class Supervisord:
    """A supervisord with one program.

    Args:
        program: its section, as it lies in a configuration file.
        home: an empty directory with a short path.
        variables: more of its environment.
    """

    def __init__(self, program: str, home: Path, variables: Mapping[str, str]) -> None:
        self._name = program.partition("[program:")[2].partition("]")[0]
        self._main = home / "supervisord.conf"
        self._main.write_text(BASE.format(home=home))
        (home / "program.conf").write_text(program)
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("MULTIWORKER_", "REDIS", "NOTIFY"))}
        self._daemon = subprocess.Popen(
            [_program("supervisord"), "-n", "-c", str(self._main)],
            env=inherited | dict(variables),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )

    def control(self, *command: str) -> str:
        """Type something into supervisorctl, and return what it says."""
        line = [_program("supervisorctl"), "-c", str(self._main), *command]
        return subprocess.run(line, capture_output=True, text=True, check=False).stdout.strip()

    def pid(self) -> int:
        """Wait until the program runs, and return the parent's pid."""
        until(lambda: "RUNNING" in self.control("status"), "the program", lambda: self.control("status"))
        return int(self.control("pid", self._name))

    def others(self) -> list[int]:
        """Return the processes in its session that are not its own."""
        return [
            process.pid
            for process in system_processes()
            if process.session == self._daemon.pid != process.pid and process.is_alive
        ]

    def shut_down(self) -> int:
        """Stop it in order, and return its exit code."""
        self._daemon.send_signal(signal.SIGTERM)
        until(lambda: self._daemon.poll() is not None, "supervisord's end")
        return self._daemon.returncode

    def close(self) -> None:
        """End everything at once."""
        self._daemon.kill()
        self._daemon.wait()
        while pids := self.others():
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
            time.sleep(PAUSE)


def _program(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


def adapted(text: str, replacements: Mapping[str, str]) -> str:
    """Return a sample with what its users are to change: what is in it -> what is here."""
    for ours, theirs in replacements.items():
        assert ours in text, ours
        text = text.replace(ours, theirs)
    return text
