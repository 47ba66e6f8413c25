"""docs/django.md: what it says of settings, tasks, transactions and tests is so."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.test import override_settings

from multiworker.django import TaskBackend, conf, options
from multiworker.django.management.commands.async_command import HELP, NAMES
from multiworker.django.testing import SentTasks, collect_tasks

FOLDER = Path(__file__).parents[2] / "multiworker" / "django"
TEXT = (FOLDER.parents[1] / "docs" / "django.md").read_text("utf-8")


def block(name: str) -> dict[str, Any]:
    """Run a block that begins with its name; what it defines."""
    (code,) = re.findall(rf"^```python\n(# {name}\n.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    found: dict[str, Any] = {"INSTALLED_APPS": [], "__name__": name}
    exec(code, found)
    return found


def section(heading: str) -> str:
    (body,) = re.findall(rf"^#+ {heading}\n(.*?)(?=^## |^### )", TEXT, re.MULTILINE | re.DOTALL)
    return str(body)


def test_the_settings_are_right() -> None:
    with override_settings(MULTIWORKER=block("settings")["MULTIWORKER"]):
        assert list(conf.problems()) == []


def test_every_key_of_djangos_own_is_listed() -> None:
    assert set(re.findall(r"^\| `([A-Z_]+)` \|", section("Settings"), re.MULTILINE)) == set(conf.OWN)


def test_every_check_is_listed() -> None:
    code = (FOLDER / "conf.py").read_text() + (FOLDER / "checks.py").read_text()
    known = set(re.findall(r"\b([EW]0\d\d)\b", code))
    assert set(re.findall(r"`multiworker\.([EW]\d+)`", section("Checks"))) == known


def test_every_option_that_differs_is_listed() -> None:
    listed = set(re.findall(r"`(--[a-z-]+)`", "".join(re.findall(r"^\| `--.*?\|", section("Commands"), re.MULTILINE))))
    expected = {name for names in NAMES.values() for name in names[:-1]}
    assert listed == expected | {f"--{name.replace('_', '-')}" for name in HELP if name not in NAMES}


@pytest.mark.usefixtures("database")
def test_the_transaction_sends_what_it_says() -> None:
    place = block("transactions")["place"]
    with collect_tasks() as tasks:
        place(SimpleNamespace(pk=1, items=[7, 8], save=lambda: None))
        assert [task.type for task in tasks] == ["metrics", "invoice", "pick", "pick"]


def test_the_settings_of_tasks_are_right() -> None:
    given = block("task settings")["TASKS"]["default"]
    assert TaskBackend("default", given).check() == []


def test_every_option_of_tasks_is_listed() -> None:
    assert set(re.findall(r"^\| `([A-Z_]+)` \|", section("Tasks"), re.MULTILINE)) == set(options._READERS)
    assert (options.Options().result_ttl, options.Options().result_cap, options.Options().backoff) == (
        86400,
        100_000,
        5,
    )


def test_every_check_of_tasks_is_listed() -> None:
    known = set(re.findall(r"\b(E1\d\d)\b", (FOLDER / "options.py").read_text()))
    assert set(re.findall(r"`multiworker\.([EW]\d+)`", section("Results"))) == known


def test_the_task_has_the_attempts_it_says() -> None:
    charge: Any = block("task attempts")["charge"]
    assert (charge.max_attempts, charge.timeout, charge.priority) == (10, 30, 5)


_testing = block("testing")
Orders = pytest.mark.usefixtures("_tables")(_testing["Orders"])


def test_the_fixture_is_as_it_says(sent_tasks: SentTasks) -> None:
    _testing["test_with_pytest"](sent_tasks)
