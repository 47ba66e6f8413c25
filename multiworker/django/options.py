"""What ``OPTIONS`` of a backend in ``TASKS`` may say."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.conf import settings

from multiworker.django.problems import Problem, near
from multiworker.worker.errors import MAX_DELAY, SettingsError
from multiworker.worker.keys import hash_tag
from multiworker.worker.registry import BACKOFF

MOST_RESULTS = 10_000_000
"""Ended results that a queue may be told to keep."""


@dataclass(frozen=True, slots=True)
class Options:
    """How the tasks of one backend are sent and run.

    Args:
        lists: Django's name of a queue -> the list, where it is another than the rule says.
        max_attempts: how often a task may run; None takes the worker's ``--max-attempts``.
        timeout: seconds that a run may take; None takes the worker's ``--timeout``.
        backoff: seconds; the ceiling of the first back-off, doubled at each further failure.
        result_ttl: seconds that the result of a task is kept once it has ended.
        result_cap: how many ended results each queue keeps; the oldest go first.
        on_commit: send after the commit of the open transaction; None takes ``MULTIWORKER["ON_COMMIT"]``.
        database: whose transaction; None takes ``MULTIWORKER["DATABASE"]``.
        problems: what is wrong, and was left out.
    """

    lists: Mapping[str, str] = field(default_factory=dict)
    max_attempts: int | None = None
    timeout: float | None = None
    backoff: float = BACKOFF
    result_ttl: float = 86400.0
    result_cap: int = 100_000
    on_commit: bool | None = None
    database: str | None = None
    problems: tuple[Problem, ...] = ()


def read(alias: str, given: object) -> Options:
    """Read the options of a backend.

    Args:
        alias: the backend's.
        given: ``OPTIONS`` as it stands in the settings.

    Returns:
        The options; what is wrong of them is left out, and told in `problems`.
    """
    where = f'TASKS["{alias}"]["OPTIONS"]'
    if not isinstance(given, Mapping):
        return Options(problems=(Problem("E101", f"{where} is a dict, not {type(given).__name__}"),))
    found: dict[str, Any] = {}
    problems: list[Problem] = []
    for key, value in given.items():
        if key not in _READERS:
            problems.append(_unknown(where, key))
        elif value is not None:
            name, reader, wanted = _READERS[key]
            try:
                found[name] = reader(value)
            except (TypeError, ValueError, SettingsError) as error:
                why = str(error) if isinstance(error, SettingsError) else f"not {value!r:.100}"
                problems.append(Problem("E103", f'{where}["{key}"]: {why}', f"it is {wanted}"))
    return Options(**found, problems=tuple(problems))


def wrong_queues(alias: str, given: object) -> Iterator[Problem]:
    """Find queues that cannot be lists.

    Args:
        alias: the backend's.
        given: ``QUEUES`` as it stands in the settings.
    """
    where = f'TASKS["{alias}"]["QUEUES"]'
    if isinstance(given, str) or not all(isinstance(name, str) for name in given):  # type: ignore[attr-defined]
        yield Problem("E104", f"{where} is a list of names", 'write ["default"] for one queue')
        return
    for name in given:  # type: ignore[attr-defined]
        try:
            hash_tag(name)
        except SettingsError as error:
            yield Problem("E105", f"{where}: {error}", "map it to another list with LISTS in OPTIONS, or rename it")


def _unknown(where: str, key: object) -> Problem:
    return Problem("E102", f"{where} has no key {key!r:.100}", near(str(key).upper(), _READERS))


def _number(low: float, high: float) -> Callable[[Any], float]:
    def read_number(value: Any) -> float:
        seconds = value.total_seconds() if isinstance(value, timedelta) else value
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not low <= seconds <= high:
            raise ValueError
        return float(seconds)

    return read_number


def _whole(low: int, high: int) -> Callable[[Any], int]:
    def read_whole(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError
        return value

    return read_whole


def _switch(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _database(value: Any) -> str:
    if value not in settings.DATABASES:
        raise SettingsError(f"DATABASES has no {value!r:.100}")
    return str(value)


def _lists(value: Any) -> dict[str, str]:
    if not isinstance(value, Mapping) or not all(isinstance(part, str) for pair in value.items() for part in pair):
        raise TypeError
    for name in value.values():
        hash_tag(name)
    return dict(value)


_READERS: dict[str, tuple[str, Callable[[Any], Any], str]] = {
    "LISTS": ("lists", _lists, "a dict: Django's name of a queue -> the list in Redis"),
    "MAX_ATTEMPTS": ("max_attempts", _whole(1, 1_000_000), "a whole number from 1"),
    "TIMEOUT": ("timeout", _number(0.001, MAX_DELAY), "a number of seconds above 0, or a timedelta"),
    "BACKOFF": ("backoff", _number(0, MAX_DELAY), "a number of seconds, or a timedelta"),
    "RESULT_TTL": ("result_ttl", _number(1, MAX_DELAY), "a number of seconds from 1, or a timedelta"),
    "RESULT_CAP": ("result_cap", _whole(1, MOST_RESULTS), f"a whole number, 1 to {MOST_RESULTS}"),
    "ON_COMMIT": ("on_commit", _switch, "True or False"),
    "DATABASE": ("database", _database, "an alias of DATABASES"),
}
