"""Parts of packages, imported without the rest: that waits until somebody imports the package, or uses it."""

import contextlib
import importlib
import sys
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Any


class _Hollow(ModuleType):
    """A package whose own code has not run yet, or not to its end. It does when somebody asks for what is not there."""

    def __getattr__(self, name: str) -> Any:
        spec: Any = self.__spec__
        # A thread that is about to run the code notes it before the module is in its place again.
        if sys.modules.get(self.__name__) is self and spec.loader.waits:
            del sys.modules[self.__name__]
        if name != "__path__":  # which packages have from the start, and the import system looks for
            whole = importlib.import_module(self.__name__)  # waits for another thread that is at it
            if type(whole) is not _Hollow:  # else this thread is at it
                return getattr(whole, name)
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")


class _Rest(SourceFileLoader):
    """Runs the code of a hollow package in the module that its parts know, as any import does.

    Args:
        spec: the package's, which gets this loader.
    """

    def __init__(self, spec: ModuleSpec) -> None:
        super().__init__(spec.name, str(spec.origin))
        self.hollow = module_from_spec(spec)
        self.hollow.__class__ = _Hollow
        self.waits = True
        """The code has not begun to run."""
        spec.loader = self

    def create_module(self, spec: ModuleSpec) -> ModuleType:  # noqa: ARG002 - it is asked for that one alone
        """Return the module."""
        self.waits = False
        return self.hollow

    def exec_module(self, module: ModuleType) -> None:
        """Run the code; from then on the module is one like any other."""
        super().exec_module(module)
        module.__class__ = ModuleType


class _Finder:
    """Finds the packages that are, or have been, hollow."""

    def __init__(self) -> None:
        self._specs: dict[str, ModuleSpec] = {}

    def find_spec(self, name: str, _path: Sequence[str] | None, _target: ModuleType | None = None) -> ModuleSpec | None:
        """Return how to import the rest of a package; None if it is none of these."""
        return self._specs.get(name)

    def hollow_out(self, package: str) -> _Rest | None:
        """Put a package in place without its code; None if it is there already, or does not come from a file."""
        if package in sys.modules:
            return None
        spec = find_spec(package)
        if spec is None or type(spec.loader) is not SourceFileLoader:
            return None
        self._specs[package] = spec
        rest = _Rest(spec)
        sys.modules[package] = rest.hollow
        return rest


@contextlib.contextmanager
def postponed(*packages: str) -> Iterator[None]:
    """Have imports in this block, of modules that are in packages, not run the packages' own code, which imports more.

    Whoever imports such a package after the block gets all of it, as ever, in one piece with the modules that are there
    already. Who has imported it in the block gets what it is asked for as soon as it is. A module may stand for a
    package: then none of its code runs.

    Args:
        packages: their names, each after that of the package it is in.
    """
    finder = _Finder()
    sys.meta_path.insert(0, finder)
    rests = [rest for rest in map(finder.hollow_out, packages) if rest]
    try:
        yield
    finally:
        for rest in rests:
            if rest.waits:
                sys.modules.pop(rest.name, None)
