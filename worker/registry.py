"""Handlers: how they are declared, found and looked up. The registry is made once at boot and never changes."""

import importlib
import inspect
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import takewhile
from types import FunctionType, ModuleType
from typing import Any, NamedTuple, Protocol, TypeVar

from multiworker.worker.errors import MAX_DELAY, HandlerImportError
from multiworker.worker.message import valid_name

F = TypeVar("F", bound=Callable[..., Any])

BACKOFF = 5.0
"""Seconds; the back-off's ceiling after the first failure."""
BACKOFF_CAP = 3600.0
"""Seconds; the back-off's highest ceiling."""
_MARK = "__multiworker_handlers__"


class Observer(Protocol):
    """Records how the tasks of a handler fare, before Redis learns of it in any other way.

    Its methods may wait as long as they must; what they raise counts as if the handler had raised it. A run is an
    executor.Run, records are the results.Records of its queue, an outcome is an outcome.Outcome.
    """

    async def started(self, run: Any, records: Any) -> Any:
        """Take note of a run that is about to begin.

        Returns:
            None; or the outcome that it has had already, and then it does not begin.
        """

    async def ended(self, run: Any, records: Any, outcome: Any, value: Any, error: BaseException | None) -> None:
        """Take note of how a run ended: its outcome, and what its handler returned or raised."""


@dataclass(frozen=True, slots=True)
class Handler:
    """A function and how to run it.

    Args:
        function: takes the task's data; a catch-all takes the whole task.
        max_attempts: how often a task may run; None takes ``--max-attempts``.
        timeout: seconds a run may take; None takes ``--timeout``.
        backoff: seconds; the ceiling of the first back-off, doubled at each further failure.
        whole: it takes the whole task, as the catch-all does.
        observer: records how its tasks fare.

    Attributes:
        is_async: calling it gives an awaitable to run on the event loop.
    """

    function: Callable[[Any], Any]
    max_attempts: int | None = None
    timeout: float | None = None
    backoff: float = BACKOFF
    whole: bool = False
    observer: Observer | None = None

    is_async: bool = field(init=False)

    def __post_init__(self) -> None:
        call = getattr(self.function, "__call__", None)  # noqa: B004 - an object may have an async __call__
        is_async = inspect.iscoroutinefunction(self.function) or inspect.iscoroutinefunction(call)
        object.__setattr__(self, "is_async", is_async)


def handler(
    type: str,  # noqa: A002 - the task's key has this name
    *,
    max_attempts: int | None = None,
    timeout: float | None = None,
    backoff: float = BACKOFF,
) -> Callable[[F], F]:
    """Declare a function as the handler of one task type. The function itself stays as it is.

    Workers find it in any module that has been imported once their ``--handler`` modules are.

    Args:
        type: the task's type, 1-200 characters.
        max_attempts: how often a task may run, from 1; None takes ``--max-attempts``.
        timeout: seconds that a run may take, more than 0; None takes ``--timeout``.
        backoff: seconds; a failed task waits a random time up to this, doubled at each failure, at most an hour.

    Returns:
        The decorator.

    Raises:
        ValueError: an argument cannot be; or, from the decorator, the function is a generator.
    """
    if callable(type) or not valid_name(type):
        raise ValueError(f"a type has 1-200 characters, none of them control or bidirectional, not {type!r}")
    if max_attempts is not None and max_attempts < 1:
        raise ValueError(f"max_attempts is at least 1, not {max_attempts!r}")
    if timeout is not None and not 0 < timeout <= MAX_DELAY:
        raise ValueError(f"timeout is more than 0 and at most {MAX_DELAY:.0f} seconds, not {timeout!r}")
    if not 0 <= backoff <= MAX_DELAY:
        raise ValueError(f"backoff is 0 to {MAX_DELAY:.0f} seconds, not {backoff!r}")

    def mark(function: F) -> F:
        if _is_generator(function):
            raise ValueError(f"{function!r} is a generator: calling it would run nothing of it")
        declared = Handler(function, max_attempts, timeout, backoff)
        setattr(function, _MARK, {**getattr(function, _MARK, {}), type: declared})
        return function

    return mark


class Registry(NamedTuple):
    """Which handler takes which type.

    Args:
        by_type: the decorated handlers.
        catch_all: takes the types that have none.
        calls: a task whose data is an object of ``args`` and ``kwargs`` calls a function by its path, and never goes to
            the catch-all.
    """

    by_type: dict[str, Handler]
    catch_all: Handler | None = None
    calls: bool = False


def load(specs: Iterable[str], after: str = "") -> Registry:
    """Import handler modules and collect what they declare.

    Args:
        specs: ``MODULE`` or ``MODULE:FUNC``, as given by the operator.
        after: name of the last imported module that declares none; nor do those before it. To look at an object, be it
            a module or its name, is to write its reference count, and so to copy the memory that a fork shares.

    Returns:
        The registry.

    Raises:
        HandlerImportError: a module does not import, a function is not there, or two handlers claim one type.
    """
    catch_all: Handler | None = None
    for spec in specs:
        module_name, _, function_name = spec.partition(":")
        try:
            module = importlib.import_module(module_name)
        except (Exception, SystemExit) as error:  # a script without a main guard may call sys.exit()
            raise HandlerImportError(f"--handler {spec}: {type(error).__name__}: {error}") from error
        if function_name:
            if catch_all:
                raise HandlerImportError(f"--handler {spec}: there is a catch-all already; give one MODULE:FUNC")
            catch_all = _named(module, function_name, spec)
    return Registry(_declared(sys.modules[name] for name in imported(after)), catch_all)


def imported(after: str) -> list[str]:
    """Name the modules that were imported after one, in that order; all of them, if it is not there any more.

    Args:
        after: see load().
    """
    return list(takewhile(after.__ne__, reversed(sys.modules)))[::-1]


def _named(module: ModuleType, name: str, spec: str) -> Handler:
    function = getattr(module, name, None)
    if not callable(function):
        raise HandlerImportError(f"--handler {spec}: the module has no function {name}")
    if _is_generator(function):
        raise HandlerImportError(f"--handler {spec}: {name} is a generator: calling it would run nothing of it")
    return Handler(function, whole=True)


def _is_generator(function: Callable[..., Any]) -> bool:
    return inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)


def _declared(modules: Iterable[ModuleType]) -> dict[str, Handler]:
    """Collect marked functions from modules' namespaces; so there is no global list for two workers to share."""
    found: dict[str, Handler] = {}
    for module in modules:
        for value in list(getattr(module, "__dict__", {}).values()):
            marked = getattr(value, _MARK, None) if type(value) is FunctionType else None
            for kind, declared in (marked or {}).items():
                other = found.setdefault(kind, declared)
                if other.function is not declared.function:
                    both = " and ".join(f"{f.__module__}.{f.__qualname__}" for f in (other.function, declared.function))
                    raise HandlerImportError(f"two handlers for type {kind!r}: {both}")
    return found
