"""Where children look for modules."""

import os
import sys
from pathlib import Path

import pytest

from multiworker.worker.imports import PATH_VARIABLE, path_to_hand_over, take_over_path


@pytest.fixture(autouse=True)
def _own_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", ["/first", "/second"])
    monkeypatch.delenv(PATH_VARIABLE, raising=False)


def test_a_path_that_was_handed_over_is_taken_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", ["/srv/app", "lib"])
    monkeypatch.setenv(PATH_VARIABLE, path_to_hand_over())
    monkeypatch.setattr(sys, "path", ["/other"])
    take_over_path()
    assert sys.path == ["/srv/app", os.fspath(Path("lib").absolute())]


def test_without_one_the_working_directory_comes_first() -> None:
    take_over_path()
    assert sys.path == [str(Path.cwd()), "/first", "/second"]


def test_it_is_not_put_there_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", ["", "/first"])
    take_over_path()
    assert sys.path == ["", "/first"]
