"""``manage.py async_command``: workers for this project's tasks."""

import sys
from collections.abc import Iterator
from functools import partial
from typing import Any

import click
from django.core.management.base import BaseCommand, CommandError, CommandParser

from multiworker.cli import root, secrets
from multiworker.cli.options import config_option, setting, settings_of
from multiworker.cli.project import Project
from multiworker.cli.root import explain
from multiworker.django import handover, queues
from multiworker.worker.errors import MAX_DELAY, Exit, SettingsError
from multiworker.worker.settings import OPTION_NAMES

PRESETS = {"concurrency": "5", "batch_size": "10", "procs": "1", "redis_wait": f"{MAX_DELAY:.0f}"}
"""What options are here if neither the command line, nor environment, file or MULTIWORKER say otherwise."""
NAMES = {"queue": ("--redis-key", "--queue"), "concurrency": ("--max-concurrent", "--max-workers", "--concurrency")}
"""How options of ``start`` are called here; the last name is the one of ``start``."""
HELP = {
    "queue": "Redis list to take tasks from; repeat for more, first is first.  [default: every queue of the backend]",
    "concurrency": "Tasks that one process runs at once; with 1, one after the other in list order.  [default: 5]",
    "batch_size": "Most tasks claimed in one round trip; never more than can start.  [default: 10]",
    "procs": "Processes; auto follows the usable cores.  [default: 1]",
    "interval": "Longest that an idle worker waits before it looks again; an arriving task is taken at once all the "
    "same.  [default: 1]",
    "redis_wait": "Give up when Redis has not been there for so long at the first start.  [default: never]",
    "max_tasks": "Stop after exactly N tasks over all processes.  [default: unlimited]",
}


class Command(BaseCommand):
    """Checks the options, and becomes ``multiworker start``."""

    help = "Run this project's tasks: workers that take them from Redis lists, and lose none."
    requires_system_checks: list[str] = []  # noqa: RUF012 - the engine checks the setting, and imports the handlers
    stealth_options = tuple({*OPTION_NAMES, "redis_key", "max_concurrent", "max_workers"} - {"settings"})

    def run_from_argv(self, argv: list[str]) -> None:
        """Become the parent of workers; exits with its code."""
        program = f"{argv[0].rpartition('/')[2]} {argv[1]}"
        arguments = handover.without_djangos(argv[2:])
        if (code := check(arguments, program)) is not None:
            sys.exit(code)
        handover.become(translated(arguments), PRESETS)

    def print_help(self, prog_name: str, subcommand: str) -> None:
        """Show the options, for ``manage.py help async_command``."""
        check(["--help"], f"{prog_name.rpartition('/')[2]} {subcommand}")

    def add_arguments(self, parser: CommandParser) -> None:
        """Take whatever ``start`` takes, for call_command()."""
        parser.parse_args = partial(handover.parse_rest, parser)

    def handle(self, *, arguments: list[str], **options: Any) -> None:
        """Run workers beside this process until they end, for call_command().

        Raises:
            CommandError: the exit code is not 0.
        """
        given = [*arguments, *_as_arguments({name: options.get(name) for name in self.stealth_options})]
        if (code := check(given, "manage.py async_command")) is not None:
            raise CommandError(f"async_command: exit code {code}", returncode=code)
        handover.run(translated(given), PRESETS)


def check(arguments: list[str], program: str) -> int | None:
    """Check options while they still have the names that the user gave them; shows help if that is asked for.

    Args:
        arguments: what stands after the command's name.
        program: how the user called it.

    Returns:
        The exit code, if there is nothing to run.
    """
    try:
        project = Project(handover.settings_module(), queues.given())
        with _command().make_context(program, list(arguments), obj=project) as ctx:
            settings_of(ctx)
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.ClickException as error:
        line, code = explain(error, program)
    except (SettingsError, CommandError) as error:
        line, code = f"{program}: {error}", int(Exit.CONFIG)
    else:
        return None
    sys.stderr.write(f"{secrets.scrub(line, arguments)}\n")
    return code


def translated(arguments: list[str]) -> list[str]:
    """Return the options under the names that ``multiworker start`` knows."""
    names = {name: theirs[-1] for theirs in NAMES.values() for name in theirs[:-1]}
    parts = [argument.partition("=") for argument in arguments]
    return [names.get(name, name) + equals + value for name, equals, value in parts]


def _as_arguments(options: dict[str, Any]) -> Iterator[str]:
    for name, value in options.items():
        flag = f"--{name.replace('_', '-')}"
        if value is True:
            yield flag
        elif value is not None and value is not False:
            yield from (f"{flag}={part}" for part in (value if isinstance(value, list | tuple) else [value]))


@config_option
def _nothing(**_: object) -> None:
    """Run this project's tasks, found in async_tasks.py and tasks.py of every installed app.

    Every option can also stand in MULTIWORKER of Django's settings, as in MULTIWORKER = {"CONCURRENCY": 20}, in the
    environment as MULTIWORKER_CONCURRENCY, and in the file given with --config. The command line counts most, then the
    environment, the file, and MULTIWORKER. --settings, --pythonpath and --traceback are Django's own.
    """


def _command() -> click.Command:
    function = _nothing
    ordered = [*HELP, *(name for name in OPTION_NAMES if name not in {*HELP, "settings"})]
    for name in reversed(ordered):
        more = {"help": HELP[name]} if name in HELP else {}
        function = setting(name, *NAMES.get(name, ()), **more)(function)
    return click.command(context_settings=root.HELP)(function)
