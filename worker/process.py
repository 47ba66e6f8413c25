"""What the parent runs in a forked process: a child, or a sweep when no child is left."""

import asyncio
import gc
import importlib
import importlib.util
import logging
import sys
from collections.abc import Callable
from functools import cache, partial

from multiworker.worker import preload
from multiworker.worker.broker import Broker
from multiworker.worker.child import Child
from multiworker.worker.errors import Exit, HandlerImportError, RedisUnavailable
from multiworker.worker.executor import format_traceback
from multiworker.worker.imports import take_over_path
from multiworker.worker.links import Links, links_of
from multiworker.worker.logs import describe, one_line, without_secrets
from multiworker.worker.registry import Registry, load
from multiworker.worker.scoreboard import Record, Scoreboard
from multiworker.worker.scripts import OF_CHILDREN, script
from multiworker.worker.settings import Settings
from multiworker.worker.upkeep import Upkeep

log = logging.getLogger("multiworker.worker")

_DJANGO = "multiworker.django.boot"
"""Imported only with ``--settings``: nothing in here depends on Django."""


def run_child(
    settings: Settings,
    board: Scoreboard,
    index: int,
    parent: int,
    *,
    first: bool,
    links: Links,
    drains: Callable[[], None] = lambda: None,
    registry: Registry | None = None,
) -> int:
    """Live as a child.

    Args:
        settings: the parent's.
        board: the scoreboard.
        index: this child's record in it.
        parent: the parent's pid.
        first: nobody has been ready yet: give up on Redis after ``--redis-wait``.
        links: its connections to Redis, none of which is open yet.
        drains: called when it begins to drain.
        registry: from prepare(), if a template has done that.

    Returns:
        The exit code.
    """
    record = board.records[index]

    async def live(handlers: Registry) -> int:
        return await Child(settings, board, record, handlers, parent, links, drains).live(first=first)

    def run() -> int:
        gc.enable()  # a template has switched it off
        handlers = registry or prepare(settings)
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            return runner.run(live(handlers))

    return explained(record, run)


def prepare(settings: Settings) -> Registry:
    """Import what children run.

    Raises:
        HandlerImportError: it does not import.
    """
    registry = _import_handlers(settings)
    gc.collect()
    gc.freeze()
    return registry


def warm_up() -> None:
    """Import and read what children need whatever their settings are, beyond what this module has imported."""
    _loop_factory()
    importlib.import_module("multiworker.worker.client")  # most handlers send tasks, too
    for name in OF_CHILDREN:
        script(name)


def prepare_to_fork(settings: Settings) -> tuple[Callable[..., int], Callable[[], None]]:
    """Make ready a process that forks children: they share what it has imported. With ``--preload``, so are handlers.

    All of that is taken out of the garbage collector's sight: it stays, and who looks at it cannot share it. What the
    engine's imports leave behind is not worth a collection, which takes longer than a child's boot. What children would
    all do alike is done here, as far as it goes: who runs a function writes into it, and shares it no more.

    Args:
        settings: the parent's.

    Returns:
        run_child(), with links, and with the handlers if they are imported; and what is to be called before each fork,
        and raises as this does.

    Raises:
        HandlerImportError: it does not import, or has begun what must not be forked: threads, connections.
    """
    warm_up()
    run = partial(run_child, links=links_of(settings))
    gc.freeze()
    take_over_path()  # only now, for the engine's own imports are not to be found among the project's modules
    if not settings.preload:
        return run, lambda: None
    check = partial(_refuse_hazards, preload.open_sockets())
    run = partial(run, registry=prepare(settings))
    check()
    return run, check


def _refuse_hazards(known: set[str]) -> None:
    if found := preload.hazard(known):
        raise HandlerImportError(
            f"--preload: no child can be forked from a process with {found}: leave it to the first task"
        )


def explained(record: Record, life: Callable[[], int]) -> int:
    """Live, and leave word in the log and in the scoreboard of the error that ends it.

    Args:
        record: of this process.
        life: returns the exit code.

    Returns:
        The exit code.
    """
    try:
        return life()
    except HandlerImportError as error:
        record.text = without_secrets(error)
        log.error("%s", one_line(error))
        if error.__cause__:
            log.info("traceback: %s", format_traceback(error.__cause__))
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
        brokers = [Broker(queue, settings) for queue in settings.queue]
        try:
            await Upkeep(brokers, board, lambda: None).recover_lost()
        finally:
            for broker in brokers:
                await broker.close()
        return Exit.OK

    try:
        return asyncio.run(give_back())
    except RedisUnavailable as error:
        log.warning("tasks of dead children stay until their lease is over: %s", error)
        return Exit.UNAVAILABLE


def _import_handlers(settings: Settings) -> Registry:
    last_of_engine = next(reversed(sys.modules))
    if not settings.settings:
        return load(settings.handler, last_of_engine)
    try:
        boot = importlib.import_module(_DJANGO)
    except Exception as error:
        raise HandlerImportError(f"--settings {settings.settings}: {type(error).__name__}: {error}") from error
    registry: Registry = boot.prepare(settings, last_of_engine)
    return registry


@cache
def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Take uvloop if it is installed."""
    if importlib.util.find_spec("uvloop") is None:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = importlib.import_module("uvloop").new_event_loop
    return factory
