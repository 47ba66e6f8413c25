"""Running a task where it is sent, for tests and development: through JSON, to its handler, and back with its error."""

import asyncio
import functools
import inspect
import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
from asgiref.sync import async_to_sync
from django.core.signals import setting_changed

from multiworker.django import conf
from multiworker.django.handlers import find_handlers
from multiworker.worker.context import CURRENT, Current
from multiworker.worker.errors import MultiworkerError, Retry
from multiworker.worker.registry import Handler, Registry, load
from multiworker.worker.settings import Settings

_MAX_ATTEMPTS: int = Settings().max_attempts


class Inline:
    """What current() asks of a task that runs where it was sent.

    Args:
        known: of the task.
    """

    def __init__(self, known: Current) -> None:
        self._known = known

    def describe(self) -> Current:
        """Return what a handler may know."""
        return self._known


def run(payload: bytes, queue: str) -> Any:
    """Run a task here and now. One that asks to run again does so at once, as often as it may.

    Args:
        payload: as it would lie in Redis.
        queue: the list where it would.

    Returns:
        What its handler returns.

    Raises:
        MultiworkerError: no handler takes its type.
        Exception: whatever the handler raises.
    """
    task = msgspec.json.decode(payload)
    handler = _handler_of(task["type"])
    most = handler.max_attempts or conf.engine_options().get("max_attempts", _MAX_ATTEMPTS)
    for attempt in itertools.count(1):
        task = msgspec.json.decode(payload)
        token = CURRENT.set(Inline(Current(task["id"], task["type"], attempt, queue, most)))
        try:
            return call(handler.function, task if handler.whole else task.get("data"))
        except Retry:
            if attempt >= most:
                raise
        finally:
            CURRENT.reset(token)
    return None


def call(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call a plain or async function from plain code, also where an event loop runs.

    Returns:
        Its result.
    """
    if not (inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)):
        return function(*args, **kwargs)
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return async_to_sync(function)(*args, **kwargs)
    with ThreadPoolExecutor(1) as thread:  # the loop of this one is busy with the caller
        return thread.submit(async_to_sync(function), *args, **kwargs).result()


def _handler_of(kind: str) -> Handler:
    registry = _registry()
    handler = registry.by_type.get(kind) or load(()).by_type.get(kind) or registry.catch_all  # a test may have added it
    if handler is None:
        raise MultiworkerError(f"no handler for {kind!r} in async_tasks.py or tasks.py of an installed app")
    return handler


@functools.cache
def _registry() -> Registry:
    return find_handlers(conf.engine_options().get("handler", ()))


def _forget(*, setting: str, **_: object) -> None:
    if setting in {"MULTIWORKER", "INSTALLED_APPS"}:
        _registry.cache_clear()


setting_changed.connect(_forget, dispatch_uid="multiworker.django.eager")
