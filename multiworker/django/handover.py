"""From manage.py to the engine: manage.py has loaded Django, and the parent of workers is to be without it.

So the process becomes another program (exec): it keeps its pid, and what watches it sees signals and exit codes of the
engine. No secret gets onto the command line on the way.
"""

import os
import subprocess
import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence

from django.core.management.base import CommandError, CommandParser

from multiworker.worker.imports import PATH_VARIABLE, path_to_hand_over
from multiworker.worker.settings import REDIS_VARIABLES

_VALUED = ("--settings", "--pythonpath", "--verbosity", "-v")
_FLAGS = ("--traceback", "--no-color", "--force-color", "--skip-checks")


def without_djangos(arguments: Sequence[str]) -> list[str]:
    """Take out the options that manage.py has obeyed already, wherever they stand, as it does itself.

    Args:
        arguments: what stands after the command's name.
    """
    left: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        if argument == "--":
            return [*left, argument, *rest]
        if argument in _VALUED:
            next(rest, None)
        elif not (argument in _FLAGS or argument.startswith(tuple(f"{name}=" for name in _VALUED))):
            left.append(argument)
    return left


def parse_rest(parser: CommandParser, args: Sequence[str] | None = None, namespace: object = None) -> Namespace:
    """Parse Django's own options, and leave all others, in their order, as ``arguments``; in place of parse_args()."""
    found: Namespace
    found, rest = parser.parse_known_args(args, namespace)
    found.arguments = rest
    return found


def settings_module() -> str:
    """Return the name of the project's settings.

    Raises:
        CommandError: they have none, and other processes cannot read them.
    """
    module = os.environ.get("DJANGO_SETTINGS_MODULE")
    if not module:
        raise CommandError("workers need the name of a settings module: set DJANGO_SETTINGS_MODULE", returncode=78)
    return module


def command_of(arguments: Sequence[str], presets: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
    """Return the program that is ``multiworker start`` for this project, and its environment.

    Args:
        arguments: options of ``start``, as the user gave them.
        presets: what options are if nobody says otherwise, by field of Settings.
    """
    variables = dict(os.environ) | {PATH_VARIABLE: path_to_hand_over()}
    options = _without_redis(arguments, variables)
    options += [f"--preset={name}={value}" for name, value in presets.items()]
    warnings = [f"-W{option}" for option in sys.warnoptions]
    start = [sys.executable, *warnings, "-m", "multiworker", "start", f"--settings={settings_module()}"]
    return [*start, *options], variables


def _without_redis(arguments: Sequence[str], variables: dict[str, str]) -> list[str]:
    """Move the Redis URL, which may hold a password, from the command line into the environment."""
    left: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        name, equals, value = argument.partition("=")
        if name == "--redis":
            variables[REDIS_VARIABLES[0]] = value if equals else next(rest, "")
        else:
            left.append(argument)
    return left


def become(arguments: Sequence[str], presets: Mapping[str, str]) -> None:
    """Become ``multiworker start``; does not return."""
    command, variables = command_of(arguments, presets)
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(command[0], command, variables)  # noqa: S606 - no shell is wanted


def run(arguments: Sequence[str], presets: Mapping[str, str]) -> None:
    """Run ``multiworker start`` beside this process, which goes on: for call_command().

    Raises:
        CommandError: it ended with another exit code than 0, which is its ``returncode``.
    """
    command, variables = command_of(arguments, presets)
    code = subprocess.run(command, env=variables, check=False).returncode
    if code:
        raise CommandError(f"multiworker start ended with exit code {code}", returncode=code)
