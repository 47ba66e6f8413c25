"""The settings file: TOML whose keys are the options of ``multiworker start``, optionally under ``[multiworker]``."""

import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any

from multiworker.worker.errors import SettingsError
from multiworker.worker.settings import Settings

_OPTIONS = {option.name: option for option in fields(Settings)}


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
    option = _OPTIONS.get(key.replace("-", "_"))
    if option is None:
        raise SettingsError(f"{path}: unknown option {key!r}; multiworker start --help lists them")
    several = isinstance(option.default, tuple)
    if several and isinstance(value, str):
        value = [value]
    parts = value if several and isinstance(value, list) else [value]
    wanted: tuple[type, ...] = (bool,) if option.type is bool else (str, int, float)
    if not all(isinstance(part, wanted) and isinstance(part, bool) == (option.type is bool) for part in parts):
        what = "true or false" if option.type is bool else "text or a number"
        raise SettingsError(f"{path}: {key} is {what}{', or a list of them' if several else ''}")
    return option.name, value
