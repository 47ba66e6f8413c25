"""Django's system checks of the setting, run by ``manage.py check`` and before most commands."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register  # noqa: A004 - Django's name

from multiworker.django import conf
from multiworker.django.caches import in_redis, place_of, url_of
from multiworker.worker.errors import HandlerImportError, SettingsError
from multiworker.worker.registry import load
from multiworker.worker.settings import read

LABEL = "multiworker"
_WARNING = "tasks lie in the Redis database whose whole content, tasks included, is deleted by clear() of"


@register(LABEL)
def check_setting(app_configs: object, **_: object) -> list[CheckMessage]:  # noqa: ARG001 - Django's signature
    """Check ``MULTIWORKER``, and CACHES where Redis is taken from there."""
    found = [Error(problem.text, problem.hint, id=f"{LABEL}.{problem.id}") for problem in conf.problems()]
    return found or _check_handlers(getattr(settings, "MULTIWORKER", {}).get("HANDLER"))


def _check_handlers(value: Any) -> list[CheckMessage]:
    """Import what is named, as workers do."""
    try:
        if value:
            load(read("handler", value))
    except HandlerImportError as error:
        text = str(error).replace("--handler", conf.spoken("HANDLER"), 1)
        return [Error(text, 'it is "module" or "module:function"', id=f"{LABEL}.E008")]
    return []


@register(LABEL, deploy=True)
def check_cache(app_configs: object, **_: object) -> list[CheckMessage]:  # noqa: ARG001 - Django's signature
    """Warn of a cache that lies in the same database as the tasks: to clear it is to lose them."""
    try:
        tasks = place_of(conf.redis_url())
        shared = [alias for alias in in_redis(settings.CACHES) if place_of(url_of(settings.CACHES[alias])) == tasks]
    except SettingsError:
        return []  # an error of the other check
    hint = f"give tasks a database of their own: {conf.spoken('REDIS')} with another number at its end"
    return [Warning(f"{_WARNING} CACHES[{alias!r}]", hint, id=f"{LABEL}.W001") for alias in shared]
