"""What `import multiworker` offers."""

import importlib
import importlib.metadata

import pytest

import multiworker


def test_all_names_are_sorted_and_complete() -> None:
    assert multiworker.__all__ == sorted(multiworker.__all__)
    assert set(multiworker.__all__) == {*multiworker._HOME, "__version__"}


@pytest.mark.parametrize("name", sorted(multiworker._HOME))
def test_each_name_is_the_one_of_its_module(name: str) -> None:
    home = importlib.import_module(multiworker._HOME[name])

    assert getattr(multiworker, name) is getattr(home, name)
    assert name in dir(multiworker)
    assert getattr(multiworker, name).__doc__


def test_version_is_that_of_the_installed_package() -> None:
    assert multiworker.__version__ == importlib.metadata.version("multiworker")


def test_other_names_are_not_there() -> None:
    with pytest.raises(AttributeError, match="module 'multiworker' has no attribute 'nope'"):
        multiworker.nope  # type: ignore[attr-defined]  # noqa: B018
