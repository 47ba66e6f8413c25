"""What one process leaves for another."""

import os
from dataclasses import fields

import pytest

from multiworker.supervisor.letter import Letter, as_plain, from_plain
from multiworker.worker.settings import Settings

OTHER = Settings(
    procs=3,
    redis="rediss://user:p%40ss@host:6380/1",
    queue=("one", "two"),
    handler=("a.b:c", "d"),
    settings="my.settings",
    burst=True,
    max_tasks=7,
    timeout=0.1,
    grace=1e-3,
    pidfile="/run/\udcff",
    name="blue",
)


@pytest.mark.parametrize("settings", [Settings(), OTHER])
def test_settings_come_back_as_they_were(settings: Settings) -> None:
    letter = Letter()
    letter.write({"settings": as_plain(settings)})
    found = from_plain(letter.read()["settings"])
    letter.close()
    assert found == settings
    assert [type(getattr(found, one.name)) for one in fields(found)] == [
        type(getattr(settings, one.name)) for one in fields(settings)
    ]


def test_it_is_of_any_length_and_read_when_its_writer_is_gone() -> None:
    letter = Letter()
    pid = os.fork()
    if pid == 0:
        letter.write({"queue": ["x" * 100] * 10_000})
        os._exit(0)
    os.waitpid(pid, 0)
    assert letter.read() == {"queue": ["x" * 100] * 10_000}
    letter.close()


def test_one_whose_writer_died_before_it_was_done_says_nothing() -> None:
    letter = Letter()
    assert letter.read() == {}
    os.write(letter.fd, b'{"settings": {"procs')
    assert letter.read() == {}
    letter.close()
