"""Packages whose own code waits until somebody wants more of them than the modules that are there."""

import importlib
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from multiworker.worker.postponed import postponed

NAME = "mw_postponed"
PART = f"{NAME}.part"


@pytest.fixture(autouse=True)
def _package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A package that says when its own code runs, which imports all of its modules."""
    package = tmp_path / NAME
    package.mkdir()
    (package / "__init__.py").write_text(
        f"import time\nwith open({str(tmp_path / 'ran')!r}, 'a') as file:\n    file.write('ran ')\n"
        f"from {NAME} import other\ntime.sleep(0.05)\nVALUE = other.NUMBER\n"
    )
    (package / "part.py").write_text("import mw_postponed as whole\nNUMBER = 1\ndef ask(): return whole.VALUE\n")
    (package / "other.py").write_text("NUMBER = 2\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "meta_path", sys.meta_path[:])
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == NAME]:
        del sys.modules[name]


@pytest.fixture
def runs(tmp_path: Path) -> "Runs":
    return Runs(tmp_path / "ran")


class Runs:
    """How often the package's own code has run.

    Args:
        path: where it says so.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def count(self) -> int:
        return len(self._path.read_text().split()) if self._path.exists() else 0


def test_a_module_is_imported_without_the_rest_of_its_package(runs: Runs) -> None:
    with postponed(NAME):
        part = importlib.import_module(PART)
    assert part.NUMBER == 1
    assert runs.count() == 0
    assert NAME not in sys.modules
    assert f"{NAME}.other" not in sys.modules


def test_who_imports_the_package_later_gets_all_of_it_with_the_modules_that_are_there(runs: Runs) -> None:
    # given
    with postponed(NAME):
        part = importlib.import_module(PART)
    # when
    whole = importlib.import_module(NAME)
    # then
    assert whole.VALUE == 2
    assert whole.part is part is importlib.import_module(PART)
    assert runs.count() == 1
    assert importlib.import_module(NAME) is whole
    assert runs.count() == 1


def test_a_module_that_holds_the_package_gets_what_it_asks_for(runs: Runs) -> None:
    # given a module that has imported the package while that was hollow
    with postponed(NAME):
        part = importlib.import_module(PART)
    # when it uses it, then the code runs, and everybody has the same module
    assert part.ask() == 2
    assert runs.count() == 1
    assert importlib.import_module(NAME) is part.whole
    with pytest.raises(AttributeError):
        _ = part.whole.NOTHING


def test_who_asks_for_more_in_the_block_has_it_at_once(runs: Runs) -> None:
    with postponed(NAME):
        whole = importlib.import_module(NAME)
        assert whole.VALUE == 2
    assert importlib.import_module(NAME) is whole
    assert runs.count() == 1


def test_many_threads_at_once_run_it_once_and_all_see_it_complete(runs: Runs) -> None:
    # given
    with postponed(NAME):
        part = importlib.import_module(PART)
    others = [part.ask, lambda: importlib.import_module(NAME).VALUE] * 6
    start = threading.Barrier(len(others))
    seen: list[object] = []

    def run(look: object) -> None:
        start.wait()
        seen.append(look())  # type: ignore[operator]

    # when
    threads = [threading.Thread(target=run, args=(look,)) for look in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # then
    assert seen == [2] * len(others)
    assert runs.count() == 1


def test_a_module_that_is_no_package_waits_as_well(tmp_path: Path) -> None:
    # given a module that another has imported by its own statement
    (tmp_path / f"{NAME}.py").write_text("VALUE = 3\n")
    (tmp_path / NAME).rename(tmp_path / "away")
    with postponed(NAME):
        early = importlib.import_module(NAME)
    # when it is used, or imported
    assert early.VALUE == 3
    # then it is one
    assert importlib.import_module(NAME) is early
    assert not hasattr(early, "__path__")


def test_one_that_fails_is_tried_again_by_the_next(tmp_path: Path, runs: Runs) -> None:
    # given a package whose code fails
    with postponed(NAME):
        part = importlib.import_module(PART)
    source = tmp_path / NAME / "__init__.py"
    good = source.read_text()
    source.write_text("raise OSError('not now')")
    with pytest.raises(OSError, match="not now"):
        importlib.import_module(NAME)
    # when it has been mended
    source.write_text(good)
    importlib.invalidate_caches()
    # then
    assert importlib.import_module(NAME).part is part
    assert runs.count() == 1


def test_one_that_is_there_already_stays(runs: Runs) -> None:
    before = importlib.import_module(NAME)
    with postponed(NAME, "mw_there_is_none"):
        assert importlib.import_module(NAME) is before
    assert sys.modules[NAME] is before
    assert runs.count() == 1


@pytest.mark.parametrize(
    "first",
    ["from redis import Redis", "from redis.asyncio import Redis", "import redis.exceptions", "import redis.cluster"],
)
def test_handlers_have_all_of_redis_py_beside_an_engine_that_has_a_part_of_it(first: str) -> None:
    # given the engine as a template imports it
    program = f"""
        import sys
        from multiworker.supervisor.lives import RARELY_USED
        from multiworker.worker.postponed import postponed
        with postponed(*RARELY_USED):
            from multiworker.worker.process import warm_up
            warm_up()
        from multiworker.worker.connections import RedisError, Retry
        assert not {{"redis", "redis.asyncio", "redis.client", "importlib.metadata"}} & set(sys.modules), "all is there"
        # when a handler's module imports redis-py
        {first}
        import redis, redis.asyncio, redis.cluster
        # then it is the same one
        assert redis.exceptions.RedisError is redis.RedisError is RedisError
        assert redis.asyncio.retry.Retry is Retry
        import importlib.metadata
        importlib.metadata.version("redis")
        """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
