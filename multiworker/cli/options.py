"""Options made from the fields of Settings: one set of names and checks for command line, environment and file."""

from collections.abc import Callable, Sequence
from dataclasses import Field, fields
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from multiworker.cli.config import load
from multiworker.cli.project import Project
from multiworker.cli.root import ORIGINS, Failure
from multiworker.worker.errors import Exit, SettingsError
from multiworker.worker.settings import (
    DEFAULT_QUEUE,
    OPTION_NAMES,
    REDIS_VARIABLES,
    Settings,
    number_of,
    parse_size,
    parse_text,
    redis_from,
)

F = TypeVar("F", bound=Callable[..., Any])

PROJECT = "multiworker.project"
"""In a context's meta: the Project whose settings count."""
FILES = "multiworker.files"
"""In a context's meta: what the files say that were read, by path."""
PRESET = "multiworker.preset"
"""In a context's meta: what options are if nobody says otherwise."""
_FIELDS = {option.name: option for option in fields(Settings)}
_METAVARS = {"procs": "N|auto", "redis": "URL", "handler": "MODULE[:FUNC]", "settings": "MODULE", "pidfile": "FILE"}
_METAVARS |= {"queue": "NAME", "name": "NAME"}
_NUMBER_NAMES: dict[type | None, str] = {int: "N", float: "SECONDS", None: "TEXT"}


class SettingType(click.ParamType):  # type: ignore[type-arg]  # click before 8.4 has no argument for it
    """A setting's text, from wherever, or a number from the settings file.

    Args:
        option: the field of Settings.
    """

    envvar_list_splitter = ","

    def __init__(self, option: "Field[Any]") -> None:
        self._option = option.name
        size = option.metadata.get("parse") is parse_size
        self.name = _METAVARS.get(option.name, "SIZE" if size else _NUMBER_NAMES[number_of(option.name)])

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Turn what was given into the setting's type."""
        try:
            return parse_text(self._option, str(value))
        except SettingsError as error:
            self.fail(str(error), param, ctx)

    def split_envvar_value(self, rv: str) -> Sequence[str]:
        """Cut the variable of an option that may be repeated at its commas."""
        return [part.strip() for part in rv.split(",") if part.strip()]

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:  # noqa: ARG002 - click's signature
        """Name the value in --help."""
        return self.name


class _RedisOption(click.Option):
    """The Redis URL; its variables may name a file, so that the environment holds no password."""

    def resolve_envvar_value(self, ctx: click.Context) -> str | None:
        """Return what the environment says."""
        project: Project | None = ctx.meta.get(PROJECT) or ctx.find_root().obj
        names = REDIS_VARIABLES[:1] if project and "redis" in project.options else REDIS_VARIABLES
        try:
            return redis_from(names)
        except SettingsError as error:
            raise click.BadParameter(str(error), ctx, self) from None


def setting(name: str, *flags: str, **changes: Any) -> Callable[[F], F]:
    """Return the decorator that gives a command the option of one field of Settings.

    Its default is not shown by click, lest a value from environment or file be: it stands in the help text.

    Args:
        name: the field.
        *flags: what it is called instead of the field's name with two dashes.
        **changes: to click's arguments.
    """
    option = _FIELDS[name]
    default = option.metadata.get("shown", option.default)
    shown = ", ".join(default) if isinstance(default, tuple) else default
    shown = f"{shown:g}" if isinstance(shown, float) else shown
    flag = option.type is bool
    text = option.metadata["help"] + (f"  [default: {shown}]" if shown not in {None, ""} and not flag else "")
    choices = option.metadata.get("choices")
    arguments: dict[str, Any] = {
        "type": click.BOOL if flag else click.Choice(choices) if choices else SettingType(option),
        "help": text,
        "envvar": option.metadata.get("env", f"MULTIWORKER_{name.upper()}"),
        "cls": _RedisOption if name == "redis" else click.Option,
        "is_flag": flag,
        "multiple": isinstance(option.default, tuple),
        "default": option.default if flag else None,
    }
    return click.option(*(flags or [f"--{name.replace('_', '-')}"]), name, **(arguments | changes))


def all_settings(command: F) -> F:
    """Give a command every option of Settings, in order, and ``--config`` (a decorator)."""
    for name in reversed(OPTION_NAMES):
        command = setting(name)(command)
    return config_option(command)


def redis_options(command: F) -> F:
    """Give a command ``--config``, ``--redis`` and ``--queue`` (a decorator)."""
    queue = setting("queue", help="Redis list of the tasks.  [default: async_tasks]")
    return config_option(setting("redis")(queue(command)))


def config_option(command: F) -> F:
    """Give a command ``--config`` (a decorator); what the file says counts less than environment and command line."""
    return click.option(
        "--config",
        metavar="FILE",
        envvar="MULTIWORKER_CONFIG",
        is_eager=True,
        expose_value=False,
        callback=_read_config,
        help="TOML file with options as keys, optionally under [multiworker].",
    )(command)


def _read_config(ctx: click.Context, _: click.Parameter, path: str | None) -> None:
    try:
        layer(ctx, path)
    except SettingsError as error:
        raise Failure(str(error), Exit.CONFIG) from None


def layer(ctx: click.Context, path: str | None) -> None:
    """Lay what a file says over what a Django project says, and that over what is so if nobody says otherwise.

    Args:
        ctx: of a command; its meta has PROJECT and PRESET if there are any.
        path: of the file.

    Raises:
        SettingsError: the file cannot be read.
    """
    project: Project | None = ctx.meta.get(PROJECT) or ctx.find_root().obj
    theirs = project.options if project else {}
    files: dict[str, dict[str, Any]] = ctx.meta.setdefault(FILES, {})
    if path and path not in files:  # read once, lest it changes meanwhile
        files[path] = load(path)
    own = files[path] if path else {}
    ctx.default_map = ctx.meta.get(PRESET, {}) | theirs | own
    origins = {name: project.origin(name) for name in theirs} if project else {}
    ctx.meta[ORIGINS] = origins | dict.fromkeys(own, path)


def one_queue(ctx: click.Context, settings: Settings) -> str:
    """Return the queue of a command that takes one.

    Of several that a Django project names for its workers, it is ``async_tasks``, else the first.

    Raises:
        click.BadParameter: the caller has named several.
    """
    project: Project | None = ctx.find_root().obj
    if project and ctx.meta[ORIGINS].get("queue") == project.origin("queue") and _is_layered(ctx, "queue"):
        return DEFAULT_QUEUE if DEFAULT_QUEUE in settings.queue else settings.queue[0]
    if len(settings.queue) > 1:
        param = next(param for param in ctx.command.params if param.name == "queue")
        raise click.BadParameter("one name at a time here", ctx, param)
    return settings.queue[0]


def _is_layered(ctx: click.Context, name: str) -> bool:
    return ctx.get_parameter_source(name) is ParameterSource.DEFAULT_MAP


def settings_of(ctx: click.Context) -> Settings:
    """Make the settings from what a command was given.

    Each value is tried alone first, so that an error is told of the option, variable or file that caused it.

    Raises:
        click.BadParameter: naming the option.
    """
    given = {
        param.name: (param, ctx.params[param.name])
        for param in ctx.command.params
        if param.name in _FIELDS and ctx.get_parameter_source(param.name) is not ParameterSource.DEFAULT
    }
    for name, (param, value) in given.items():
        try:
            Settings(**{name: value})
        except SettingsError as error:
            raise click.BadParameter(str(error), ctx, param) from None
    return Settings(**{name: value for name, (_, value) in given.items()})
