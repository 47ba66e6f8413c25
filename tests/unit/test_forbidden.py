"""What no line of the program may do, for payloads are hostile: found in the syntax tree of every file."""

import ast
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted(
    path
    for folder in ("worker", "supervisor", "multiworker")
    for path in (ROOT / folder).rglob("*.py")
    if not path.is_relative_to(ROOT / "multiworker/worker") and not path.is_relative_to(ROOT / "multiworker/supervisor")
)
UNPICKLERS = {"pickle", "_pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle", "jsonpickle", "joblib"}
PARSERS = {"yaml", "xml", "lxml", "zlib", "gzip", "bz2", "lzma", "zipfile", "tarfile"}
PROGRAMS = {"subprocess", "pty", "commands", "shlex", "multiprocessing", "code", "codeop", "runpy", "pdb"}
BUILTINS = {"eval", "exec", "compile", "__import__", "breakpoint", "input", "vars", "delattr"}
OS_PROGRAMS = ("system", "popen", "exec", "spawn", "posix_spawn")
LOGGING = {"debug", "info", "warning", "error", "critical", "exception", "log"}

IMPORTS_BY_NAME = {
    "worker/registry.py:load": "the operator's --handler, checked by settings; before any task",
    "worker/process.py:_import_handlers": "Django, a literal; before any task",
    "worker/process.py:_loop_factory": "uvloop, a literal; before any task",
    "worker/process.py:warm_up": "our own module, a literal; before any task",
    "worker/postponed.py:__getattr__": "what a library has imported by its own statement; see its callers",
    "supervisor/main.py:_server": "our own module, a literal; before any task",
    "multiworker/__init__.py:__getattr__": "our own modules, from a constant table",
    "multiworker/django/discovery.py:task_handlers": "our own module, a literal; before any task",
    "multiworker/cli/__init__.py:main": "our own modules, two literals",
    "multiworker/cli/begin.py:_read": "our own module, a literal",
    "multiworker/cli/root.py:get_command": "our own commands, from a constant table",
    "multiworker/cli/secrets.py:hide": "setproctitle, a literal",
    "multiworker/cli/demo_screen.py:screen": "rich, a literal",
    "multiworker/django/__init__.py:__getattr__": "our own module, a literal",
    "multiworker/django/pytest_plugin.py:sent_tasks": "our own module, a literal; in tests",
    "multiworker/django/queues.py:_backend": "our own module, a literal",
    "multiworker/django/handlers.py:_import": "the modules of installed apps; before any task",
}
"""Where modules are imported by a name that is not in an import statement, and why no payload can choose it."""
ATTRIBUTES_BY_NAME = {
    "worker/settings.py:__post_init__": "the names of our own options",
    "worker/registry.py:mark": "a constant",
    "worker/registry.py:_declared": "a constant",
    "worker/postponed.py:__getattr__": "what a library looks up in a module that it has imported",
    "worker/registry.py:_named": "the operator's --handler, checked by settings; before any task",
    "multiworker/__init__.py:__getattr__": "our own names, from a constant table",
    "multiworker/django/stored.py:change": "fields of a TaskResult, keywords of its callers",
    "multiworker/cli/root.py:get_command": "our own commands, from a constant table",
    "multiworker/django/__init__.py:__getattr__": "our own names, from a constant table",
}
"""Where attributes are looked up or set by a name that is not a literal, and why no payload can choose it."""


class Finding(NamedTuple):
    """A place in the code.

    Args:
        place: file and function.
        what: stands there.
    """

    place: str
    what: str


def walk(node: ast.AST, function: str = "") -> Iterator[tuple[ast.AST, str]]:
    """Return every node with the name of the innermost function around it."""
    for child in ast.iter_child_nodes(node):
        inner = child.name if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) else function
        yield child, inner
        yield from walk(child, inner)


def imported(node: ast.AST) -> set[str]:
    """Return the top names of the packages that an import statement names."""
    if isinstance(node, ast.Import):
        return {alias.name.partition(".")[0] for alias in node.names}
    return {str(node.module).partition(".")[0]} if isinstance(node, ast.ImportFrom) else set()


def called(node: ast.AST) -> str:
    """Return what is called, such as ``os.system``; empty for anything but names."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
        return ast.unparse(node.func)
    return ""


def is_literal(node: ast.AST) -> bool:
    if isinstance(node, ast.IfExp):
        return is_literal(node.body) and is_literal(node.orelse)
    return isinstance(node, ast.Constant) and isinstance(node.value, str | bytes)


def unsafe_import(node: ast.AST, *, programs: bool) -> str:
    """Modules that make objects, text or processes of bytes."""
    banned = UNPICKLERS | PARSERS | (PROGRAMS if programs else set())
    return ", ".join(imported(node) & banned)


def unsafe_call(node: ast.AST, *, programs: bool) -> str:
    """Functions that run text."""
    name = called(node)
    runs = programs and name.startswith(tuple(f"os.{one}" for one in OS_PROGRAMS))
    return name if name in BUILTINS or runs or name.startswith("asyncio.create_subprocess") else ""


def import_by_name(node: ast.AST) -> str:
    return called(node) if called(node).rpartition(".")[2] in {"import_module", "find_loader", "load_module"} else ""


def attribute_by_name(node: ast.AST) -> str:
    if not isinstance(node, ast.Call) or called(node).rpartition(".")[2] not in {
        *("getattr", "setattr", "hasattr", "__getattribute__", "__setattr__", "attrgetter", "methodcaller")
    }:
        return ""
    return "" if any(is_literal(argument) for argument in node.args[:2]) else ast.unparse(node)


def template_from_elsewhere(node: ast.AST) -> str:
    """A text that is not a literal, used as a template: of %, format() or logging."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod):
        numeric = isinstance(node.right, ast.Constant) and isinstance(node.right.value, int)
        sized = ast.unparse(node.right) in {"2 ** 64", "len(cores)", "CHUNK", "size"}
        return "" if is_literal(node.left) or numeric or sized else ast.unparse(node)
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return ""
    owner, method = node.func.value, node.func.attr
    if method in {"format", "format_map", "Template", "substitute", "safe_substitute"} and not is_literal(owner):
        return ast.unparse(node)
    if method in LOGGING and ast.unparse(owner) in {"log", "logging", "logger"} and not is_literal(node.args[0]):
        return ast.unparse(node)
    return ""


def findings(files: dict[str, str], rule: Callable[[ast.AST], str]) -> list[Finding]:
    """Apply a rule to every node of every file."""
    return [
        Finding(f"{name}:{function}", what)
        for name, text in files.items()
        for node, function in walk(ast.parse(text))
        if (what := rule(node))
    ]


def sources(*folders: str) -> dict[str, str]:
    """Return the files of some folders, by name."""
    names = {str(path.relative_to(ROOT)): path for path in FILES}
    return {name: path.read_text("utf-8") for name, path in names.items() if name.startswith(folders)}


EVERYWHERE = sources("worker/", "supervisor/", "multiworker/")
CHILD = sources("worker/")


def test_all_files_are_looked_at() -> None:
    assert {"worker/message.py", "worker/client/encode.py", "supervisor/parent.py", "multiworker/cli/root.py"} <= {
        *EVERYWHERE
    }


def test_bytes_become_objects_by_json_alone() -> None:
    assert not findings(EVERYWHERE, lambda node: unsafe_import(node, programs=False))


def test_no_text_is_ever_run() -> None:
    assert not findings(EVERYWHERE, lambda node: unsafe_call(node, programs=False))


def test_a_child_starts_no_program() -> None:
    assert not findings(CHILD, lambda node: unsafe_import(node, programs=True))
    assert not findings(CHILD, lambda node: unsafe_call(node, programs=True))


@pytest.mark.parametrize(
    ("rule", "allowed"),
    [(import_by_name, IMPORTS_BY_NAME), (attribute_by_name, ATTRIBUTES_BY_NAME), (template_from_elsewhere, {})],
)
def test_names_and_templates_are_literals_but_for_named_places(
    rule: Callable[[ast.AST], str], allowed: dict[str, str]
) -> None:
    found = findings(EVERYWHERE, rule)
    assert {finding.place for finding in found} == set(allowed), found


def test_no_json_reader_has_hooks_that_make_objects() -> None:
    def hooked(node: ast.AST) -> str:
        hooks = {keyword.arg for keyword in node.keywords} if isinstance(node, ast.Call) else set()
        return ", ".join(hook for hook in hooks & {"object_hook", "dec_hook", "ext_hook", "cls"} if hook)

    found = findings(CHILD, hooked)
    assert not found, found


BAD = """
    import pickle
    import yaml.constructor as y
    from subprocess import run
    def decode(payload):
        eval(payload)
        os.system(payload)
        importlib.import_module(payload)
        getattr(handlers, payload)
        setattr(task, payload, 1)
        payload % 1.5
        payload.format(1)
        log.warning(payload)
"""


@pytest.mark.parametrize(
    ("rule", "count"),
    [
        (lambda node: unsafe_import(node, programs=True), 3),
        (lambda node: unsafe_call(node, programs=True), 2),
        (import_by_name, 1),
        (attribute_by_name, 2),
        (template_from_elsewhere, 3),
    ],
)
def test_these_rules_find_what_they_are_for(rule: Callable[[ast.AST], str], count: int) -> None:
    found = findings({"bad.py": textwrap.dedent(BAD)}, rule)
    assert len(found) == count, found
