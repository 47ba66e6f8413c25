"""The settings file: TOML whose keys are the options of ``multiworker start``, optionally under ``[multiworker]``."""

import tomllib
from pathlib import Path
from typing import Any

from multiworker.worker.errors import SettingsError
from multiworker.worker.settings import OPTION_NAMES, check_type


def load(path: str) -> dict[str, Any]:
    """Read a settings file.

    Args:
        path: of the file.

    Returns:
        Values by field of Settings, of the file's own types; those that may be repeated as lists.

    Raises:
        SettingsError: naming the file, and the key if it is about one; never a value.
    """
    try:
        content = tomllib.loads(Path(path).read_text("utf-8"))
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: not valid TOML: {error}") from None
    table = content.pop("multiworker", None)
    if table is not None and content:
        raise SettingsError(f"{path}: {next(iter(content))!r} stands outside of [multiworker]")
    if table is None:
        table = content
    if not isinstance(table, dict):
        raise SettingsError(f"{path}: multiworker is a table, [multiworker]")
    return dict(_checked(path, key, value) for key, value in table.items())


def _checked(path: str, key: str, value: Any) -> tuple[str, Any]:
    option = key.replace("-", "_")
    if option not in OPTION_NAMES:
        raise SettingsError(f"{path}: unknown option {key!r}; multiworker start --help lists them")
    try:
        return option, check_type(option, value)
    except SettingsError as error:
        raise SettingsError(f"{path}: {key} {error}") from None
