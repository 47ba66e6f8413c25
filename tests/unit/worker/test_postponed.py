"""Modules whose import waits until they are used."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from multiworker.worker.postponed import postponed

NAME = "mw_postponed"


@pytest.fixture(autouse=True)
def _module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A module that says when it is imported."""
    (tmp_path / f"{NAME}.py").write_text(
        f"import pathlib\npathlib.Path({str(tmp_path)!r}, 'came').touch()\nVALUE = 1\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop(NAME, None)


def test_it_is_imported_when_it_is_used_and_by_nobody_else_in_its_place(tmp_path: Path) -> None:
    # given somebody who has imported it in the block
    with postponed(NAME):
        theirs = importlib.import_module(NAME)
    assert not (tmp_path / "came").exists()
    assert NAME not in sys.modules
    # when it is used, then it is there
    assert theirs.VALUE == 1
    assert (tmp_path / "came").exists()
    # and everybody else has the module itself
    assert importlib.import_module(NAME) is not theirs
    with pytest.raises(AttributeError):
        _ = theirs.NOTHING


def test_who_uses_it_in_the_block_has_it_at_once() -> None:
    with postponed(NAME):
        theirs = importlib.import_module(NAME)
        assert theirs.VALUE == 1
        ours = importlib.import_module(NAME)
    assert ours is sys.modules[NAME]
    assert ours is not theirs


def test_one_that_is_there_already_stays() -> None:
    before = importlib.import_module(NAME)
    with postponed(NAME):
        assert importlib.import_module(NAME) is before
    assert sys.modules[NAME] is before
