"""What the parent runs in a forked process: a child, or a sweep when no child is left."""

import asyncio
import gc
import importlib
import importlib.util
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path

from multiworker.worker.broker import Broker
from multiworker.worker.child import Child
from multiworker.worker.connections import Wire
from multiworker.worker.errors import Exit, HandlerImportError, RedisUnavailable
from multiworker.worker.executor import format_traceback
from multiworker.worker.logs import describe, one_line, without_secrets
from multiworker.worker.registry import Registry, load
from multiworker.worker.scoreboard import Scoreboard
from multiworker.worker.settings import Settings
from multiworker.worker.upkeep import Upkeep
from multiworker.worker.words import State, Word

log = logging.getLogger("multiworker.worker")


def run_child(
    settings: Settings,
    board: Scoreboard,
    index: int,
    parent: int,
    *,
    first: bool,
    drains: Callable[[], None] = lambda: None,
) -> int:
    """Live as a child.

    Args:
        settings: the parent's.
        board: the scoreboard.
        index: this child's record in it.
        parent: the parent's pid.
        first: nobody has been ready yet: give up on Redis after ``--redis-wait``.
        drains: called when it begins to drain.

    Returns:
        The exit code.
    """
    record = board.records[index]
    record[Word.STATE] = State.IMPORT

    async def live() -> int:
        return await Child(settings, board, record, registry, parent, drains).live(first=first)

    try:
        registry = _import_handlers(settings)
        gc.collect()
        gc.freeze()
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            return runner.run(live())
    except HandlerImportError as error:
        record.text = without_secrets(error)
        log.error("%s", one_line(error))
        log.info("traceback: %s", format_traceback(error.__cause__ or error))
        return Exit.CONFIG
    except BaseException as error:
        record.text = without_secrets(describe(error))
        raise


def sweep(settings: Settings, board: Scoreboard) -> int:
    """Give back what dead children hold, when no child is left that could; then end.

    Returns:
        The exit code.
    """

    async def give_back() -> int:
        steps, duties = Wire(settings.redis), Wire(settings.redis)
        brokers = [Broker(queue, settings, steps, duties) for queue in settings.queue]
        try:
            await Upkeep(brokers, board, lambda: None).recover_lost()
        finally:
            await duties.close()
        return Exit.OK

    try:
        return asyncio.run(give_back())
    except RedisUnavailable as error:
        log.warning("tasks of dead children stay until their lease is over: %s", error)
        return Exit.UNAVAILABLE


def _import_handlers(settings: Settings) -> Registry:
    if "" not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    if settings.settings:
        os.environ["DJANGO_SETTINGS_MODULE"] = settings.settings
        try:
            importlib.import_module("django").setup()
        except Exception as error:
            raise HandlerImportError(f"--settings {settings.settings}: {type(error).__name__}: {error}") from error
    return load(settings.handler)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Take uvloop if it is installed."""
    if importlib.util.find_spec("uvloop") is None:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = importlib.import_module("uvloop").new_event_loop
    return factory
