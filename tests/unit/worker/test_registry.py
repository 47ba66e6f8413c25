"""How handlers are declared, found and refused."""

import functools
import math
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from multiworker.worker.errors import MAX_DELAY, HandlerImportError
from multiworker.worker.registry import BACKOFF, Handler, Registry, _declared, handler, load


class Modules:
    """Handler modules as a project has them, forgotten when the test ends."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        self._monkeypatch = monkeypatch
        monkeypatch.syspath_prepend(folder)

    def write(self, name: str, source: str) -> str:
        (self._folder / f"{name}.py").write_text(f"from multiworker.worker.registry import handler\n{source}\n")
        self._monkeypatch.setitem(sys.modules, name, None)  # monkeypatch removes what is imported under this name
        del sys.modules[name]
        return name


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Modules]:
    for name, module in list(sys.modules.items()):
        if _declared([module]):  # of other tests, or of the demo
            monkeypatch.delitem(sys.modules, name)
    before = set(sys.modules)
    yield Modules(tmp_path, monkeypatch)
    for name in set(sys.modules) - before:
        del sys.modules[name]


def names(registry: Registry) -> dict[str, str]:
    return {kind: found.function.__name__ for kind, found in registry.by_type.items()}


def test_a_decorated_function_stays_as_it_is() -> None:
    def function(data: Any) -> Any:
        return data

    assert handler("email")(function) is function
    assert function(5) == 5


def test_modules_that_were_there_before_are_passed_over(modules: Modules) -> None:
    load([modules.write("mw_early", "@handler('early')\ndef early(data): ...")])
    last = next(reversed(sys.modules))
    modules.write("mw_late", "import mw_early\n@handler('late')\ndef late(data): ...")

    assert names(load(["mw_late"], last)) == {"late": "late"}


def test_without_the_last_module_of_before_all_are_looked_at(modules: Modules) -> None:
    load([modules.write("mw_early", "@handler('early')\ndef early(data): ...")])
    modules.write("mw_late", "@handler('late')\ndef late(data): ...")

    assert names(load(["mw_late"], "mw_gone")) == {"early": "early", "late": "late"}


def test_handlers_of_all_modules_are_found_with_their_options(modules: Modules) -> None:
    modules.write("mw_a", "@handler('email', max_attempts=5, timeout=30, backoff=0)\nasync def send(data): ...")
    modules.write("mw_b", "import mw_a\n@handler('one')\n@handler('two')\ndef both(data): ...")

    registry = load(["mw_b"])

    assert names(registry) == {"email": "send", "one": "both", "two": "both"}
    email = registry.by_type["email"]
    assert (email.max_attempts, email.timeout, email.backoff, email.whole, email.is_async) == (5, 30, 0, False, True)
    one = registry.by_type["one"]
    assert (one.max_attempts, one.timeout, one.backoff, one.is_async) == (None, None, BACKOFF, False)
    assert registry.catch_all is None


def test_a_handler_that_is_imported_under_several_names_is_one(modules: Modules) -> None:
    modules.write("mw_a", "@handler('email')\ndef send(data): ...\nalias = send")
    modules.write("mw_b", "from mw_a import send\nfrom mw_a import *")
    assert names(load(["mw_a", "mw_b"])) == {"email": "send"}


def test_two_handlers_of_one_type_are_refused(modules: Modules) -> None:
    modules.write("mw_a", "@handler('email')\ndef one(data): ...\n@handler('email')\ndef two(data): ...")
    with pytest.raises(HandlerImportError, match=r"two handlers for type 'email': mw_a\.\w+ and mw_a\.\w+"):
        load(["mw_a"])


def test_the_catch_all_is_the_function_that_is_named(modules: Modules) -> None:
    modules.write("mw_a", "async def run(task): ...\n@handler('email')\ndef send(data): ...")
    registry = load(["mw_a:run"])
    assert registry.catch_all
    assert (registry.catch_all.function.__name__, registry.catch_all.whole) == ("run", True)
    assert names(registry) == {"email": "send"}


def test_a_second_catch_all_is_refused(modules: Modules) -> None:
    modules.write("mw_a", "def one(task): ...\ndef two(task): ...")
    with pytest.raises(HandlerImportError, match="there is a catch-all already"):
        load(["mw_a:one", "mw_a:two"])


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("import no_such_module_at_all", "ModuleNotFoundError: No module named"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("def broken(:", "SyntaxError"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("handler('a\\nb')", "ValueError: a type has"),
    ],
)
def test_a_module_that_does_not_import_is_one_clear_error(modules: Modules, source: str, says: str) -> None:
    modules.write("mw_a", source)
    with pytest.raises(HandlerImportError, match=f"--handler mw_a: {says}") as caught:
        load(["mw_a"])
    assert caught.value.__cause__


@pytest.mark.parametrize("spec", ["mw_no_such", "mw_a:missing", "mw_a:number", "mw_a:steps", "mw_a:asteps"])
def test_a_function_that_cannot_be_run_is_refused(modules: Modules, spec: str) -> None:
    modules.write("mw_a", "number = 5\ndef steps(task): yield\nasync def asteps(task): yield")
    with pytest.raises(HandlerImportError, match=f"--handler {spec}: "):
        load([spec])


def test_a_generator_is_no_handler_for_nothing_of_it_would_run() -> None:
    def steps(data: Any) -> Iterator[int]:
        yield 1

    async def asteps(data: Any) -> AsyncIterator[int]:
        yield 1

    for function in (steps, asteps):
        with pytest.raises(ValueError, match="is a generator"):
            handler("email")(function)


@pytest.mark.parametrize("kind", ["", "x" * 201, "a\nb", "a\u202eb"])
def test_a_type_that_no_task_can_have_is_refused(kind: str) -> None:
    with pytest.raises(ValueError, match="a type has 1-200 characters"):
        handler(kind)


def test_the_decorator_without_its_type_is_told_so() -> None:
    with pytest.raises(ValueError, match="a type has 1-200 characters"):
        handler(print)  # type: ignore[arg-type]  # the mistake: @handler without (...)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"max_attempts": 0}, "max_attempts is at least 1"),
        ({"timeout": 0}, "timeout is more than 0"),
        ({"timeout": -1}, "timeout is more than 0"),
        ({"timeout": math.nan}, "timeout is more than 0"),
        ({"timeout": MAX_DELAY * 2}, "timeout is more than 0"),
        ({"backoff": -0.1}, "backoff is 0 to"),
        ({"backoff": math.inf}, "backoff is 0 to"),
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        handler("email", **options)


class Callable1:
    async def __call__(self, data: Any) -> None: ...


class Callable2:
    def __call__(self, data: Any) -> None: ...


async def coroutine_function(data: Any, more: int = 0) -> None: ...


def plain_function(data: Any) -> None: ...


@pytest.mark.parametrize(
    ("function", "is_async"),
    [
        (coroutine_function, True),
        (functools.partial(coroutine_function, more=1), True),
        (Callable1(), True),
        (Callable1().__call__, True),
        (plain_function, False),
        (Callable2(), False),
        (lambda data: coroutine_function(data, 1), False),
    ],
)
def test_what_runs_on_the_event_loop_is_known_beforehand(function: Callable[[Any], Any], *, is_async: bool) -> None:
    assert Handler(function).is_async is is_async


def test_odd_things_among_the_modules_do_no_harm(modules: Modules, monkeypatch: pytest.MonkeyPatch) -> None:
    class Odd:
        def __getattr__(self, name: str) -> Any:
            raise AttributeError(name)

    monkeypatch.setitem(sys.modules, "mw_odd", Odd())
    monkeypatch.setitem(sys.modules, "mw_none", None)
    modules.write("mw_a", "@handler('email')\ndef send(data): ...")
    assert names(load(["mw_a"])) == {"email": "send"}
