"""From manage.py to the engine: which program it becomes, with which arguments and variables."""

import os
import sys
from pathlib import Path

import pytest
from django.core.management.base import CommandError

from multiworker.django import handover
from multiworker.django.management.commands.async_command import translated

SECRET = "redis://:hunter2@host:1/0"


@pytest.fixture(autouse=True)
def _named_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "mysite.settings")


@pytest.mark.parametrize("given", [["--redis", SECRET], [f"--redis={SECRET}"]])
def test_a_password_that_was_typed_goes_into_the_environment(given: list[str]) -> None:
    command, variables = handover.command_of([*given, "--burst"], {})
    assert "hunter2" not in " ".join(command)
    assert command[-1] == "--burst"
    assert variables["MULTIWORKER_REDIS"] == SECRET


def test_the_engine_gets_the_settings_the_path_and_the_presets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", ["/srv/app", "relative"])
    command, variables = handover.command_of(["--procs", "2"], {"concurrency": "5"})
    assert command[:1] == [sys.executable]
    start = command.index("-m")
    assert command[start:] == [
        *("-m", "multiworker", "start", "--settings=mysite.settings"),
        *("--procs", "2", "--preset=concurrency=5"),
    ]
    assert variables["MULTIWORKER_SYS_PATH"].split(os.pathsep) == ["/srv/app", str(Path("relative").absolute())]


def test_without_a_settings_module_there_is_nothing_to_hand_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DJANGO_SETTINGS_MODULE")
    with pytest.raises(CommandError, match="set DJANGO_SETTINGS_MODULE"):
        handover.command_of([], {})


def test_djangos_own_options_are_taken_out_wherever_they_stand() -> None:
    given = "--settings a --pythonpath=/x queue ls -v 2 --json --traceback --verbosity=1 --no-color -- --settings b"
    assert handover.without_djangos(given.split()) == ["queue", "ls", "--json", "--", "--settings", "b"]


def test_options_get_the_names_that_start_knows() -> None:
    given = ["--redis-key", "a", "--max-workers=3", "--max-concurrent", "4", "--procs", "2"]
    assert translated(given) == ["--queue", "a", "--concurrency=3", "--concurrency", "4", "--procs", "2"]
