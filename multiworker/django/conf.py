"""The setting ``MULTIWORKER``: what it may say, and what follows from it together with environment and CACHES."""

import functools
import os
from collections.abc import Iterator, Mapping
from typing import Any

from django.conf import settings
from django.core.signals import setting_changed
from django.db import DEFAULT_DB_ALIAS

from multiworker.django.caches import in_redis, url_of
from multiworker.django.problems import Problem, near
from multiworker.worker.addresses import check_redis_url
from multiworker.worker.client import MAX_PAYLOAD, QUEUE, Client
from multiworker.worker.errors import SettingsError
from multiworker.worker.settings import (
    OPTION_NAMES,
    REDIS_VARIABLES,
    Settings,
    check_type,
    parse_size,
    read,
    redis_from,
)

ENGINE = {name.upper(): name for name in OPTION_NAMES if name != "settings"}
"""Keys that are options of ``multiworker start``."""
OWN: dict[str, type] = {"EAGER": bool, "ON_COMMIT": bool, "DATABASE": str, "CACHE": str}
"""Keys that only Django code goes by: run tasks inline; send after the commit, and of which database; the cache whose
Redis it is."""
OWN_REDIS, SHARED_REDIS = REDIS_VARIABLES
_LOCAL: str = Settings().redis


def engine_options() -> dict[str, Any]:
    """Return what Django says of the engine, by field of multiworker.worker.settings.Settings.

    Returns:
        Values of the fields' types; only of those that ``MULTIWORKER`` names, and ``redis`` if a cache gives it.

    Raises:
        SettingsError: one line, naming the key.
    """
    return {name: read(name, value) for name, value in given().items()}


def given() -> dict[str, Any]:
    """Return the same as it stands there, once it has been found to be right: text, numbers, true and false, lists.

    Raises:
        SettingsError: one line, naming the key.
    """
    for problem in problems():
        raise SettingsError(str(problem))
    names = {ENGINE[key]: value for key, value in _setting().items() if key in ENGINE and value is not None}
    found = {name: check_type(name, value) for name, value in names.items()}
    if url := _cache_url():
        found.setdefault("redis", url)
    return found


def redis_url() -> str:
    """Return the Redis URL: of MULTIWORKER_REDIS, the setting, a cache, or REDIS_URL; else the one on this host.

    Raises:
        SettingsError: none can be had; never shows a password.
    """
    url = redis_from((OWN_REDIS,)) or _setting().get("REDIS") or _cache_url()
    return str(url or redis_from((SHARED_REDIS,)) or _LOCAL)


def client() -> Client:
    """Return the client of that Redis, which is made when it is first needed.

    Raises:
        SettingsError: a setting cannot be.
    """
    return _client()


def is_eager() -> bool:
    """Tell whether tasks run at once, in the process that sends them."""
    return bool(_setting().get("EAGER", False))


def waits_for_commit() -> bool:
    """Tell whether tasks are sent after the commit unless the call says otherwise."""
    return bool(_setting().get("ON_COMMIT", True))


def database() -> str:
    """Return the alias of the database whose commit counts unless the call says otherwise."""
    return str(_setting().get("DATABASE") or DEFAULT_DB_ALIAS)


def default_queue() -> str:
    """Return the list that tasks go to: ``async_tasks``, unless the workers serve others only; then their first one."""
    queues = read("queue", _setting().get("QUEUE") or QUEUE)
    return QUEUE if QUEUE in queues else str(queues[0])


def problems() -> Iterator[Problem]:
    """Find what is wrong with the setting, importing none of the project's code."""
    setting = getattr(settings, "MULTIWORKER", {})
    if not isinstance(setting, Mapping):
        yield Problem("E001", f"MULTIWORKER is a dict, not {type(setting).__name__}")
        return
    for key, value in setting.items():
        if key in ENGINE:
            yield from _wrong_option(key, value)
        elif key in OWN:
            yield from _wrong_type(key, value)
        else:
            yield _unknown(key)
    yield from _wrong_aliases(setting)


def spoken(key: str) -> str:
    """Return how a key of the setting is called in messages."""
    return f'MULTIWORKER["{key}"]'


def _wrong_option(key: str, value: object) -> Iterator[Problem]:
    name = ENGINE[key]
    if value is None:  # as if it were not there
        return
    if name == "redis" and not isinstance(value, str):
        yield Problem("E003", f"{spoken(key)} is text")
        return
    try:
        read(name, value)
    except SettingsError as error:
        yield Problem("E004" if name == "redis" else "E003", _renamed(error, name, key))


def _renamed(error: SettingsError, name: str, key: str) -> str:
    """Have a message name the setting instead of the option."""
    text, option = str(error), f"--{name.replace('_', '-')}"
    if text.startswith(option):
        return spoken(key) + text.removeprefix(option)
    return f"{spoken(key)}{' ' if text.startswith('is ') else ': '}{text}"


def _wrong_type(key: str, value: object) -> Iterator[Problem]:
    if not isinstance(value, OWN[key]):
        what = "True or False" if OWN[key] is bool else "an alias, a text"
        yield Problem("E003", f"{spoken(key)} is {what}, not {value!r:.100}")


def _unknown(key: object) -> Problem:
    hint = near(str(key).upper().replace("-", "_").removeprefix("MULTIWORKER_"), [*ENGINE, *OWN])
    if key == "SETTINGS":
        hint = "the settings module is the one it stands in"
    return Problem("E002", f"MULTIWORKER has no key {key!r:.100}", hint)


def _wrong_aliases(setting: Mapping[str, Any]) -> Iterator[Problem]:
    alias, caches = setting.get("CACHE"), settings.CACHES
    if isinstance(alias, str) and alias not in caches:
        yield Problem("E005", f"{spoken('CACHE')}: CACHES has no {alias!r}", _choices(in_redis(caches)))
    elif isinstance(alias, str) and alias not in in_redis(caches):
        yield Problem("E005", f'{spoken("CACHE")}: CACHES["{alias}"] is not in Redis', _choices(in_redis(caches)))
    elif not setting.get("REDIS"):
        try:
            _cache_url()
        except SettingsError as error:
            yield Problem("E006", str(error))
    database = setting.get("DATABASE")
    if isinstance(database, str) and database not in settings.DATABASES:
        text = f"{spoken('DATABASE')}: DATABASES has no {database!r}"
        yield Problem("E007", text, _choices(list(settings.DATABASES)))


def _choices(names: list[str]) -> str:
    return f"there is {', '.join(names)}" if names else "there is none"


def _setting() -> Mapping[str, Any]:
    setting = getattr(settings, "MULTIWORKER", {})
    if not isinstance(setting, Mapping):
        raise SettingsError(f"MULTIWORKER is a dict, not {type(setting).__name__}")
    return setting


def cache_alias() -> str | None:
    """Return the cache whose Redis it is: the one that is named; else ``default``, else the only one in Redis."""
    named = _setting().get("CACHE")
    if named:
        return str(named)
    aliases = in_redis(settings.CACHES)
    if "default" in aliases:
        return "default"
    return aliases[0] if len(aliases) == 1 else None


def _cache_url() -> str | None:
    alias = cache_alias()
    entry = settings.CACHES.get(alias) if alias else None
    if entry is None:
        return None
    try:
        url = url_of(entry)
        check_redis_url(url)
    except SettingsError as error:
        text = str(error).removeprefix("--redis").lstrip(": ")
        raise SettingsError(f'CACHES["{alias}"] {text}') from None
    return url


@functools.cache
def _client() -> Client:
    options = engine_options()
    size = os.environ.get("MULTIWORKER_MAX_PAYLOAD")
    most = parse_size(size) if size else options.get("max_payload", MAX_PAYLOAD)
    return Client(redis_url(), max_payload=most)


def _forget(*, setting: str, **_: object) -> None:
    if setting in {"MULTIWORKER", "CACHES"}:
        _client.cache_clear()


setting_changed.connect(_forget, dispatch_uid="multiworker.django.conf")
