"""What must not be in a process that others are forked from. Each case has one of its own, without pytest's threads."""

import subprocess
import sys
from pathlib import Path

import pytest

LOOK = """
import logging, socket, sqlite3, sys, threading
from multiworker.worker import preload
inherited = socket.socketpair()
known = preload.open_sockets()
{}
print(preload.hazard(known))
"""
LISTEN = "server = socket.create_server(('127.0.0.1', 0)); port = server.getsockname()[1]\n"
DJANGO = """
import django
from django.conf import settings
settings.configure(DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": sys.argv[1]}})
django.setup()
from django.db import connection
"""


def look(before: str, directory: Path) -> str:
    program = [sys.executable, "-c", LOOK.replace("{}", before), str(directory / "db.sqlite3")]
    return subprocess.run(program, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize(
    "before",
    [
        "",
        "server = socket.create_server(('127.0.0.1', 0))",
        "one = socket.socket(socket.AF_INET, socket.SOCK_STREAM)",
        LISTEN + "log = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); log.connect(('127.0.0.1', port))",
        LISTEN + "gone = socket.create_connection(('127.0.0.1', port)); gone.close()",
        "ended = threading.Thread(target=print); ended.start(); ended.join()",
        DJANGO,
        DJANGO + "connection.ensure_connection(); connection.close()",
    ],
)
def test_a_plain_process_can_be_forked(before: str, tmp_path: Path) -> None:
    assert look(before, tmp_path).splitlines()[-1] == "None"


@pytest.mark.parametrize(
    ("before", "found"),
    [
        (
            "threading.Thread(target=threading.Event().wait, name='refresher', daemon=True).start()",
            "2 threads (refresher beside the main one)",
        ),
        (LISTEN + "one = socket.create_connection(('127.0.0.1', port))", "an open connection to 127.0.0.1 port "),
        ("pair = socket.socketpair()", "an open connection to a socket of this machine"),
        (DJANGO + "connection.ensure_connection()", "an open connection of the Django database 'default'"),
    ],
)
def test_what_must_not_be_forked_is_named(before: str, found: str, tmp_path: Path) -> None:
    assert look(before, tmp_path).startswith(found)
