"""One frozen settings object, validated once, at the edge. Nobody reads options or variables after that."""

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, get_args

from multiworker.worker.addresses import check_redis_url
from multiworker.worker.errors import MAX_DELAY, SettingsError
from multiworker.worker.keys import hash_tag

MAX_CONCURRENCY = 1000
"""Permits of one child: one script call claims and settles at most so many (Lua's unpack fails near 8,000 values)."""
MAX_PROCS = 512
"""Children of one parent; the scoreboard has a record for each, twice over for reloads."""
MIB = 1024 * 1024
DEFAULT_QUEUE = "async_tasks"
"""The list that tasks go to, and are taken from, unless another is named."""

_SIZES = {"": 1, "b": 1, "k": 1000, "kb": 1000, "kib": 1024, "m": 10**6, "mb": 10**6, "mib": MIB, "g": 10**9}
_SIZES |= {"gb": 10**9, "gib": 1024 * MIB}
REDIS_VARIABLES = ("MULTIWORKER_REDIS", "REDIS_URL")
"""Name the Redis URL; with _FILE behind, a file that holds it. The first one that is set counts."""


def parse_size(text: str) -> int:
    """Read a size such as ``256KiB``, ``1 MB`` or ``4096``.

    Returns:
        Bytes.

    Raises:
        SettingsError: it is none.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*", text)
    if not match or match[2].lower() not in _SIZES:
        raise SettingsError(f"a size is a number of bytes, or one with KiB, MiB or GiB, not {text!r}")
    return int(float(match[1]) * _SIZES[match[2].lower()])


def parse_procs(text: str) -> int:
    """Read a number of children, or ``auto``.

    Returns:
        The number; 0 for auto.

    Raises:
        SettingsError: it is neither.
    """
    if text == "auto":
        return 0
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= MAX_PROCS:
        raise SettingsError(f"the number of children is auto or 1-{MAX_PROCS}, not {text!r}")
    return int(text)


_NUMBERS: dict[Any, tuple[Callable[[str], Any], str]] = {
    int: (int, "a whole number"),
    float: (float, "a number of seconds"),
}


def _option(default: Any, text: str, parse: Callable[[str], Any] | None = None, **more: Any) -> Any:
    return field(default=default, metadata={"help": text, "parse": parse, **more})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What one parent and its children go by. Field names are option names; ``metadata`` holds what --help says.

    Raises:
        SettingsError: naming the option, and what it may be.
    """

    procs: int = _option(0, "Child processes; auto follows the usable cores.", parse_procs, shown="auto")
    concurrency: int = _option(20, "Tasks that one child runs at once.")
    redis: str = field(
        default="redis://localhost:6379/0",
        repr=False,
        metadata={
            "help": "Redis URL: redis://, rediss://, unix://, redis+sentinel://A,B/SERVICE/0, redis+cluster://A,B or "
            "embedded:[DIR] (a private server run by the parent).",
            "env": REDIS_VARIABLES,
        },
    )
    queue: tuple[str, ...] = _option(
        (DEFAULT_QUEUE,), "Redis list to take tasks from; repeat for more, first is first."
    )
    handler: tuple[str, ...] = _option(
        (), "MODULE with decorated handlers, or MODULE:FUNC to take every type that has none; repeatable."
    )
    settings: str | None = _option(None, "Django settings module; Django is set up before handlers are imported.")
    burst: bool = _option(False, "Exit 0 when nothing is waiting, scheduled or running, on any host.")
    max_tasks: int | None = _option(None, "Exit 0 after exactly N tasks over all children.")
    timeout: float | None = _option(None, "Seconds that a task may run, unless its handler says otherwise.")
    max_attempts: int = _option(3, "How often a failing task runs, unless its handler says otherwise.")
    grace: float = _option(30.0, "Seconds that running tasks get to finish on stop or reload.")
    stuck_timeout: float = _option(30.0, "Seconds without a beat of a child's event loop before it is replaced.")
    pidfile: str | None = _option(None, "File to write the parent's pid to, locked while it runs.")
    name: str | None = _option(None, "Name of this instance, to tell several on one host apart.")
    pin: bool = _option(False, "Pin each child to one of the usable cores.")
    log_format: str = _option("text", "Log format.", choices=("text", "json"))
    log_level: str = _option("info", "Lowest level to log.", choices=("debug", "info", "warning", "error"))
    max_payload: int = _option(256 * 1024, "Largest payload that is run.", parse_size, shown="256KiB")
    batch_size: int | None = _option(None, "Most tasks claimed in one round trip; the free permits by default.")
    interval: float = _option(1.0, "Seconds that an idle child waits before it looks again (a push wakes it at once).")
    redis_wait: float = _option(60.0, "Seconds to wait for Redis at the first start.")
    boot_timeout: float = _option(60.0, "Seconds that a child may take to import the handlers.")
    preload: bool = _option(False, "Import the handlers once, in a process that children are forked from.")
    reload: bool = _option(False, "Reload when Python files under the working directory change; for development.")
    max_tasks_per_child: int | None = _option(None, "Replace a child after about N tasks (up to 10 % sooner).")
    max_memory_per_child: int | None = _option(None, "Replace a child that has grown to SIZE.", parse_size)
    max_age_per_child: float | None = _option(None, "Replace a child after about S seconds (up to 10 % sooner).")

    def __post_init__(self) -> None:
        for option, (low, high) in _RANGES.items():
            value = getattr(self, option)
            if value is not None and not low <= value <= high:
                raise SettingsError(f"--{option.replace('_', '-')} is {low:g} to {high:g}, not {value!r}")
        for option, allowed in (("log_format", ("text", "json")), ("log_level", _LEVELS)):
            if getattr(self, option) not in allowed:
                raise SettingsError(f"--{option.replace('_', '-')} is one of {', '.join(allowed)}")
        if not self.queue or len(set(self.queue)) < len(self.queue):
            raise SettingsError("--queue needs at least one name, each only once")
        for queue in self.queue:
            hash_tag(queue)
        for spec in self.handler:
            if not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*(:[^\W\d]\w*)?", spec):
                raise SettingsError(f"--handler is MODULE or MODULE:FUNC, not {spec!r}")
        if self.name is not None and not re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", self.name):
            raise SettingsError("--name is 1-64 letters, digits, dots, dashes or underscores")
        check_redis_url(self.redis)

    @property
    def lease(self) -> float:
        """Seconds that Redis keeps a silent worker's tasks for it.

        1.5 x the stuck timeout: a live but blocked child is killed by its own parent before others take its tasks.
        """
        return 1.5 * self.stuck_timeout

    @property
    def claim(self) -> int:
        """Most tasks claimed in one round trip."""
        return min(self.batch_size or MAX_CONCURRENCY, self.concurrency)


_LEVELS = ("debug", "info", "warning", "error")
_RANGES: dict[str, tuple[float, float]] = {
    "procs": (0, MAX_PROCS),
    "concurrency": (1, MAX_CONCURRENCY),
    "max_tasks": (1, 2**53),
    "timeout": (0.001, MAX_DELAY),
    "max_attempts": (1, 1_000_000),
    "grace": (0, 86_400),
    "stuck_timeout": (0.1, 86_400),
    "max_payload": (2, 512 * MIB),
    "batch_size": (1, MAX_CONCURRENCY),
    "interval": (0.01, 10),
    "redis_wait": (0, MAX_DELAY),
    "boot_timeout": (0.1, 86_400),
    "max_tasks_per_child": (1, 2**53),
    "max_memory_per_child": (MIB, 2**53),
    "max_age_per_child": (1, MAX_DELAY),
}
_FIELDS = {option.name: option for option in fields(Settings)}
OPTION_NAMES = tuple(_FIELDS)
"""Every option of ``start`` that is a setting, in the order of --help."""


def number_of(name: str) -> type | None:
    """Return int or float if an option is a number, else None.

    Args:
        name: the option's field.
    """
    option = _FIELDS[name]
    kinds = get_args(option.type) or (option.type,)
    return next((kind for kind in kinds if kind in _NUMBERS), None)


def parse_text(name: str, text: str) -> Any:
    """Turn a text, from wherever, into an option's type.

    Args:
        name: the option's field; of an option that may be repeated, `text` is one of its values.
        text: what was given.

    Raises:
        SettingsError: it is none; the sentence may begin with "is", and then lacks the option's name.
    """
    parse, what = _NUMBERS.get(number_of(name), (str, "text"))
    try:
        return (_FIELDS[name].metadata.get("parse") or parse)(text)
    except ValueError:
        raise SettingsError(f"is {what}, not {text!r}") from None


def check_type(name: str, value: object) -> Any:
    """Check the type of a value from a settings file or a Django project.

    Args:
        name: the option's field.
        value: as it stands there.

    Returns:
        The value; if the option may be repeated, a list.

    Raises:
        SettingsError: it is of another type; the sentence lacks the option's name.
    """
    option = _FIELDS[name]
    flag, several = option.type is bool, isinstance(option.default, tuple)
    parts = list(value) if several and isinstance(value, list | tuple) else [value]
    wanted: tuple[type, ...] = (bool,) if flag else (str, int, float)
    if not all(isinstance(part, wanted) and isinstance(part, bool) == flag for part in parts):
        what = "true or false" if flag else "text or a number"
        raise SettingsError(f"is {what}{', or a list of them' if several else ''}")
    return parts if several else value


def read(name: str, value: object) -> Any:
    """Turn a value from a Django project into the option's type, and see that it can be.

    Args:
        name: the option's field.
        value: as it stands there.

    Raises:
        SettingsError: it cannot be; the sentence begins with the option, as in ``--procs``, or lacks its name.
    """
    checked = check_type(name, value)
    if isinstance(checked, list):
        checked = tuple(parse_text(name, str(part)) for part in checked)
    elif not isinstance(checked, bool):
        checked = parse_text(name, str(checked))
    Settings(**{name: checked})
    return checked


def redis_from(names: Sequence[str] = REDIS_VARIABLES) -> str | None:
    """Return the Redis URL that the environment gives, itself or in a file.

    Args:
        names: of the variables that count.

    Returns:
        The URL as it stands there; None if no variable is set.

    Raises:
        SettingsError: a file cannot be read, or holds none; what it holds is never shown.
    """
    for name in names:
        if url := variable(name):
            return url
        if path := variable(f"{name}_FILE"):
            return _secret(f"{name}_FILE", path)
    return None


def variable(name: str) -> str | None:
    """Read a variable of the environment; os.environ raises twice for one that is not set, and takes 20 times as long.

    Args:
        name: of the variable.

    Returns:
        Its value; None if it is not set.
    """
    raw: dict[bytes, bytes] | None = getattr(os.environ, "_data", None)
    if raw is None:  # something else stands in its place, in a test maybe
        return os.environ.get(name)
    value = raw.get(name.encode())
    return None if value is None else os.fsdecode(value)


def _secret(name: str, path: str) -> str:
    try:
        text = Path(path).read_text("utf-8").strip()
    except OSError as error:
        raise SettingsError(f"{name}: {path}: {error.strerror}") from None
    except ValueError:
        raise SettingsError(f"{name}: {path}: not UTF-8") from None
    if len(text.split()) != 1:
        raise SettingsError(f"{name}: {path}: it is to hold one Redis URL, and nothing else")
    return text
