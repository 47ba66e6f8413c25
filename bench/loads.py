"""What multiworker is measured against: the bare protocol and the bare event loop, in two processes.

python loads.py bare          claim and acknowledge until the queue is empty, with nothing around it
python loads.py wait          wait for single tasks and claim each, with nothing around it
python loads.py ideal N       sleep N times in all, in as many coroutines as there would be permits
"""

import asyncio
import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from bench.handlers import note_age
from bench.lib import QUEUE
from bench.meter import inherited
from multiworker.worker import commands
from multiworker.worker.commands import Command, StepReply
from multiworker.worker.keys import Keys
from multiworker.worker.scripts import SCRIPTS, script
from multiworker.worker.settings import Settings

PROCS = 2
PERMITS = 20
"""Tasks at once in each process; also how many the bare clients claim in one call."""
NAP = 0.01
"""Seconds."""


def bare(number: int) -> None:
    """Claim until nothing is left, and count what is claimed.

    Args:
        number: which of the two this is.
    """
    meter = inherited()
    for reply in _steps(_client(), number):
        if not reply.claims:
            return
        meter.count(len(reply.claims))


def move() -> None:
    """Move what is in the queue to another list, one command an element."""
    client = _client()
    while client.lmove(QUEUE, "moved"):
        pass


def wait(number: int) -> None:
    """Note how long ago each task was pushed, for ever.

    Args:
        number: which of the two this is.
    """
    client = _client()
    for reply in _steps(client, number):
        for _, frame in reply.claims:
            note_age(int(frame.rpartition(b":")[2].rstrip(b"}")))
        _ask(client, commands.wait(Keys(QUEUE), 1.0))


def _client() -> redis.Redis:
    client = redis.Redis(unix_socket_path=os.environ["BENCH_SOCKET"], retry=Retry(NoBackoff(), 0), protocol=2)
    for name in SCRIPTS:
        client.script_load(script(name).text)
    return client


def _ask(client: redis.Redis, command: Command) -> Any:
    return client.execute_command(*command)  # type: ignore[no-untyped-call]


def _steps(client: redis.Redis, number: int) -> Iterator[StepReply]:
    """Step again and again; each call acknowledges what the one before it has brought."""
    settings, keys, worker = Settings(), Keys(QUEUE), f"bare-{number}"
    lease = round(settings.lease * 1000)
    _ask(client, commands.register(keys, worker, lease))
    done: list[str] = []
    no = 0
    while True:
        no += 1
        step = commands.step(
            keys, worker, no, lease, PERMITS, done, [], largest=settings.max_payload, has_turn=False, others=0
        )
        reply = commands.parse_step(_ask(client, step))
        done = [delivery for delivery, _ in reply.claims]
        yield reply


def ideal(naps: int) -> None:
    """Sleep in as many coroutines as there would be permits, and count the naps.

    Args:
        naps: of both processes.
    """
    meter = inherited()

    async def nap(times: int) -> None:
        for _ in range(times):
            await asyncio.sleep(NAP)
            meter.count()

    async def main() -> None:
        await asyncio.gather(*[nap(naps // PROCS // PERMITS) for _ in range(PERMITS)])

    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(main())


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Take uvloop if it is installed, as the workers do."""
    if importlib.util.find_spec("uvloop") is None:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = importlib.import_module("uvloop").new_event_loop
    return factory


def main() -> int:
    """Fork the two processes and wait for them.

    Returns:
        The exit code.
    """
    loads: dict[str, Callable[[int], None]] = {
        "bare": bare,
        "wait": wait,
        "ideal": lambda _: ideal(int(sys.argv[2])),
    }
    load = loads[sys.argv[1]]
    for number in range(PROCS):
        if os.fork() == 0:
            load(number)
            os._exit(0)
    return max(os.waitstatus_to_exitcode(os.wait()[1]) for _ in range(PROCS))


if __name__ == "__main__":
    sys.exit(main())
