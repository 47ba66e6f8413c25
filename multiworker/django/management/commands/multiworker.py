"""``manage.py multiworker``: the whole command line, for this project."""

import os
import sys
from functools import partial
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from multiworker.cli import root
from multiworker.cli.project import Project
from multiworker.django import handover, queues
from multiworker.worker.errors import Exit, SettingsError


class Command(BaseCommand):
    """Hands on to the command line, which has options, help and errors of its own."""

    help = "Run tasks, look into queues and dead letters: everything that the multiworker command does."
    requires_system_checks: list[str] = []  # noqa: RUF012 - Django's way

    def run_from_argv(self, argv: list[str]) -> None:
        """Run, and exit as the command does."""
        sys.exit(call(handover.without_djangos(argv[2:]), f"{_name(argv[0])} {argv[1]}"))

    def print_help(self, prog_name: str, subcommand: str) -> None:
        """Show the commands, for ``manage.py help multiworker``."""
        call(["--help"], f"{_name(prog_name)} {subcommand}")

    def add_arguments(self, parser: CommandParser) -> None:
        """Take whatever the command line takes, for call_command()."""
        parser.parse_args = partial(handover.parse_rest, parser)

    def handle(self, *, arguments: list[str], **_: Any) -> None:
        """Run, for call_command().

        Raises:
            CommandError: the exit code is not 0.
        """
        if arguments[:1] == ["start"]:
            handover.run(arguments[1:], {})
        elif code := call(arguments, "manage.py multiworker"):
            raise CommandError(f"multiworker {' '.join(arguments[:2])} ended with exit code {code}", returncode=code)


def call(arguments: list[str], program: str) -> int:
    """Run the command line in this process; become the parent of workers if that is asked for.

    Args:
        arguments: what stands after the command's name.
        program: how the user called it.

    Returns:
        The exit code.
    """
    if arguments[:1] == ["start"] and not {"--help", "-h"} & set(arguments):
        handover.become(arguments[1:], {})
    try:
        project = Project(os.environ.get("DJANGO_SETTINGS_MODULE", "the settings"), queues.given())
    except SettingsError as error:
        sys.stderr.write(f"{program}: {error}\n")
        return Exit.CONFIG
    return root.run(arguments, program, project)


def _name(program: str) -> str:
    return program.rpartition("/")[2]
