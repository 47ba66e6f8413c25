"""The ``multiworker`` command: finds the one that is meant, and turns every error into one line and an exit code."""

import importlib
import os
from collections.abc import Sequence
from typing import Any

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem

import multiworker
from multiworker.cli import secrets
from multiworker.worker.errors import EncodeError, Exit, MultiworkerError, RedisUnavailable

COMMANDS = {
    "start": "Run the workers: one parent that keeps child processes busy.",
    "status": "Show a running parent and its children.",
    "health": "Exit 0 if all children work and reach Redis.",
    "reload": "Have the parent load new code and settings.",
    "stop": "Have the parent finish what runs, and end.",
    "enqueue": "Send a task, or a file of tasks.",
    "queue": "Look into the queues, or empty them.",
    "dead": "Look at the dead letters, run them again, or discard them.",
    "demo": "Show everything at work on a private Redis.",
}
"""Every command, in the order of --help. Its module in this folder has its name, and so has the command in there."""

HELP = {"help_option_names": ["-h", "--help"]}
"""What asks for help, of every command."""
ORIGINS = "multiworker.origins"
"""In a context's meta: where the value of an option stands, if that is neither the command line nor a variable."""
INTERRUPTED = 130
"""The exit code after Ctrl-C, by the shells' convention."""


class Failure(click.ClickException):
    """What ends a command that was called correctly.

    Args:
        message: one line.
        exit_code: what the process exits with.
    """

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc]


class LazyGroup(click.Group):
    """Imports a command's module only to run it, or for its own help."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Name the commands."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import a command."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(importlib.import_module(f"multiworker.cli.{cmd_name}"), cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the list of commands, importing none."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete the name of a command, importing none."""
        names = [CompletionItem(name, help=text) for name, text in COMMANDS.items() if name.startswith(incomplete)]
        return names + click.Command.shell_complete(self, ctx, incomplete)


def _show_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:  # noqa: FBT001 - click's signature
    if wanted:
        click.echo(f"multiworker {multiworker.__version__}")
        ctx.exit()


@click.group(cls=LazyGroup, name="multiworker", context_settings=HELP)
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_show_version, help="Show it.")
def command() -> None:
    """Run tasks from Redis lists on all cores, and lose none."""


def run(arguments: Sequence[str], program: str = "multiworker", project: object = None) -> int:
    """Run a command; errors of users and of Redis become one line on standard error.

    Args:
        arguments: what stands after ``multiworker``.
        program: what it is called by the user.
        project: the Project in whose process this runs.

    Returns:
        The exit code.
    """
    result = perform(arguments, program, project)
    return result if isinstance(result, int) else Exit.OK


def perform(arguments: Sequence[str], program: str = "multiworker", project: object = None) -> Any:
    """Run a command; see run().

    Returns:
        What the command returns, or the exit code after an error.
    """
    try:
        return command.main(list(arguments), prog_name=program, standalone_mode=False, obj=project)
    except click.Abort:
        return INTERRUPTED
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return Exit.USAGE
    except click.ClickException as error:
        line, code = explain(error, _spoken(program, arguments))
    except MultiworkerError as error:
        line, code = f"{_spoken(program, arguments)}: {error}", _code_of(error)
    click.echo(secrets.scrub(line, arguments), err=True)
    return code


def explain(error: click.ClickException, spoken: str) -> tuple[str, int]:
    """Say in one line what is wrong; with an option, also where it was said, and where to look for help.

    Args:
        error: what click found, or a Failure.
        spoken: the command, as the user called it.

    Returns:
        The line, and the exit code.
    """
    if not isinstance(error, click.UsageError):
        return f"{spoken}: {error.format_message()}", error.exit_code
    path = error.ctx.command_path if error.ctx else spoken
    text = error.format_message().rstrip(".")
    where, code = "", Exit.USAGE
    param = getattr(error, "param", None)
    if isinstance(error, click.BadParameter) and error.ctx and isinstance(param, click.Option) and param.name:
        text = error.message.rstrip(".").replace(f"--{param.name.replace('_', '-')}", param.opts[0], 1)
        if not text.startswith("--"):
            text = f"{param.opts[0]}{' ' if text.startswith('is ') else ': '}{text}"
        source = error.ctx.get_parameter_source(param.name)
        if source is ParameterSource.ENVIRONMENT:
            where = f" (from {' or '.join(_variables(param))})"
        elif source is ParameterSource.DEFAULT_MAP:
            where, code = f" (from {error.ctx.meta[ORIGINS].get(param.name)})", Exit.CONFIG
    return f"{path}: {text}{where}; see {path} --help", code


def _variables(option: click.Option) -> Sequence[str]:
    names = option.envvar or ()
    return [names] if isinstance(names, str) else names


def _code_of(error: MultiworkerError) -> int:
    if isinstance(error, EncodeError):
        return os.EX_DATAERR
    return Exit.UNAVAILABLE if isinstance(error, RedisUnavailable) else Exit.USAGE


def _spoken(program: str, arguments: Sequence[str]) -> str:
    """Return the command as the user called it, without options."""
    words = [program, *arguments[:1]] if arguments and arguments[0] in COMMANDS else [program]
    if arguments and arguments[0] in {"queue", "dead"}:
        words += arguments[1:2]
    return " ".join(words)
