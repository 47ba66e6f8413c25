"""What a Django project says of the engine, asked in a short-lived process: this one loads neither Django nor it."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from typing import Any

from multiworker.worker.errors import SettingsError

_MODULE = "multiworker.django.resolve"
PATIENCE = 30.0
"""Seconds that the settings may take to be imported."""


@dataclass(frozen=True)
class Project:
    """What the settings of a Django project say.

    Args:
        module: the settings module.
        options: by field of Settings, as they stand there; they may hold a password.
    """

    module: str
    options: dict[str, Any] = field(repr=False)

    def origin(self, option: str) -> str:
        """Say where an option's value comes from."""
        return f'MULTIWORKER["{option.upper()}"] of {self.module}'


def ask(module: str) -> Project:
    """Read a project's settings.

    Args:
        module: the settings module.

    Raises:
        SettingsError: they do not import, or MULTIWORKER says something that cannot be; one line.
    """
    command = [sys.executable, *(f"-W{option}" for option in sys.warnoptions), "-m", _MODULE]
    variables = os.environ | {"DJANGO_SETTINGS_MODULE": module}
    try:
        done = subprocess.run(
            command, env=variables, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=PATIENCE, check=False
        )
    except subprocess.TimeoutExpired:
        raise SettingsError(f"{module}: not imported within {PATIENCE:g} s") from None
    except OSError as error:
        raise SettingsError(f"{module}: {sys.executable} cannot be run: {error.strerror}") from None
    try:
        answer = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        raise SettingsError(f"{module}: the process that reads it ended with {done.returncode}") from None
    if "error" in answer:
        raise SettingsError(f"{module}: {answer['error']}")
    return Project(module, answer["options"])
