"""The least that each side may do in Redis, read out of the code: the commands it builds, and those in its scripts.

docs/operations.md shows these lines for `async_tasks`; the tests of tests/broker log in as these users.
"""

import ast
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from multiworker.worker.keys import Keys

WORKER = Path(__file__).parents[1] / "worker"
PRODUCER = ("client/encode.py", "connections.py")
BACKEND = "../multiworker/django/backend.py"
SENDERS = {
    "worker": ("broker.py", "results.py", *PRODUCER),
    "producer": PRODUCER,
    "operator": ("operate.py", "search.py", "watch.py"),
    "django": (BACKEND, *PRODUCER),
}
"""Which modules send the commands of each user; a handler may send tasks as well."""
BUILDERS = ("commands", "inquiries")
"""The modules that build commands."""
INDIRECT = {"letters": {"XRANGE", "XREVRANGE"}, "search": {"XRANGE", "XREVRANGE"}}
"""Commands that a script calls by a variable."""
_CALL = re.compile(r"\bcall\('([A-Z]+)'")
_FUNCTION = re.compile(r"^local function (\w+)\(.*?^end$", re.MULTILINE | re.DOTALL)


def rules(role: str, queues: Iterable[str]) -> str:
    """Return what stands behind the password in a user's ACL line.

    Args:
        role: ``worker``, ``producer`` (may delay its tasks), ``pusher`` (which cannot), ``operator`` or ``django``
            (a producer that asks for results).
        queues: the lists.
    """
    patterns = [f"~{escaped(queue)}" for queue in queues]
    if role == "pusher":
        return " ".join(["resetchannels", *patterns, "-@all", "+lpush"])
    patterns += [f"~{escaped(prefix)}:*" for prefix in dict.fromkeys(Keys(queue).prefix for queue in queues)]
    if role == "django":
        patterns.append("~multiworker:result:*")
    return " ".join(["resetchannels", *patterns, "-@all", *(f"+{name.lower()}" for name in sorted(commands_of(role)))])


def escaped(text: str) -> str:
    """Return a glob that matches one text; spaces, which no ACL line can have, match anything."""
    return re.sub(r"\s", "?", re.sub(r"([*?\[\]\\])", r"\\\1", text))


@cache
def commands_of(role: str) -> frozenset[str]:
    """Return every command that a role needs, by its name in ACL lines."""
    found: set[str] = set()
    for module in SENDERS[role]:
        for name in built_in(WORKER / module):
            found |= sent_by(name)
    return frozenset(found)


def built_in(module: Path) -> set[str]:
    """Return the functions that build commands which a module uses."""
    return {
        node.attr
        for node in ast.walk(ast.parse(module.read_text("utf-8")))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in BUILDERS
    } & {*_builders()}


def sent_by(builder: str) -> set[str]:
    """Return the commands that come of one function that builds them."""
    found = {"EVALSHA", "SCRIPT|LOAD"} if _scripts_of(builder) else set()
    for node in ast.walk(_builders()[builder]):
        first = node.elts[0] if isinstance(node, ast.Tuple) and node.elts else None
        if isinstance(first, ast.Constant) and str(first.value).isupper():
            found.add(str(first.value))
    return found.union(*(called_by(name) for name in _scripts_of(builder)))


def called_by(name: str) -> set[str]:
    """Return the commands that a script calls: itself, by the prelude's functions, and at the prelude's top."""
    prelude = _lua("prelude")
    functions = {match[1]: match[0] for match in _FUNCTION.finditer(prelude)}
    text = _FUNCTION.sub("", prelude) + _lua(name)
    wanted = [function for function in functions if re.search(rf"\b{function}\(", text)]
    for function in wanted:
        inner = functions[function]
        text += inner
        wanted += [other for other in functions if other not in wanted and re.search(rf"\b{other}\(", inner)]
    return set(_CALL.findall(text)) | INDIRECT.get(name, set())


def _lua(name: str) -> str:
    """Return a script without its comments."""
    return re.sub(r"--.*", "", (WORKER / "lua" / f"{name}.lua").read_text("utf-8"))


@cache
def _builders() -> dict[str, ast.FunctionDef]:
    trees = [ast.parse((WORKER / f"{module}.py").read_text("utf-8")) for module in BUILDERS]
    return {node.name: node for tree in trees for node in tree.body if isinstance(node, ast.FunctionDef)}


def _scripts_of(builder: str) -> set[str]:
    return {
        str(node.args[0].value)
        for node in ast.walk(_builders()[builder])
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "evalsha"
        and isinstance(node.args[0], ast.Constant)
    }
