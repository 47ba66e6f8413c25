"""How Task objects are found: never by importing, never by asking anything but modules and classes."""

import sys
from types import ModuleType

import pytest
from django.utils.functional import SimpleLazyObject

from multiworker.django.task import find, find_all
from tests.django.project.app import tasks


def refuse() -> object:
    raise AssertionError("a lazy object was made")


@pytest.fixture
def lazy(monkeypatch: pytest.MonkeyPatch) -> str:
    """A module with a lazy object in it, such as the admin's site in a project without admin. Its name."""
    module = ModuleType("mw_lazy")
    module.site = SimpleLazyObject(refuse)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mw_lazy", module)
    return "mw_lazy"


def test_tasks_are_found_beside_lazy_objects(lazy: str) -> None:
    assert find_all()[tasks.add.module_path] is tasks.add


@pytest.mark.parametrize(
    "path", ["mw_lazy.site", "mw_lazy.site.name", "mw_lazy", "os.system", "builtins.type", "", "."]
)
def test_what_is_no_task_is_not_found(lazy: str, path: str) -> None:
    assert find(path) is None


def test_modules_that_were_there_before_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    last = next(reversed(sys.modules))
    late = ModuleType("mw_late")
    late.add = tasks.add  # type: ignore[attr-defined]

    assert not find_all(last)
    monkeypatch.setitem(sys.modules, "mw_late", late)
    assert find_all(last) == {tasks.add.module_path: tasks.add}
