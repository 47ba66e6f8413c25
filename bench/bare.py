"""What multiworker is measured against, in two processes: the bare protocol and the bare event loop.

python -m bench.bare steps PERMITS        claim and acknowledge until the queue is empty, with nothing around it
python -m bench.bare wait                 wait for single tasks and claim each, with nothing around it
python -m bench.bare timer NAPS PERMITS   sleep so many times in all, in as many coroutines as there are permits
python -m bench.bare loop TASKS PERMITS   run so many empty tasks in all, as many at once as there are permits
"""

import asyncio
import os
import sys
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import redis
import uvloop
from redis.backoff import NoBackoff
from redis.retry import Retry

from bench import work
from bench.lib import QUEUE
from bench.meter import inherited
from bench.stand import PROCS
from multiworker.worker import answers, commands
from multiworker.worker.answers import StepReply
from multiworker.worker.commands import Command
from multiworker.worker.keys import Keys
from multiworker.worker.message import decode
from multiworker.worker.scripts import SCRIPTS, script
from multiworker.worker.settings import Settings


def connect(path: str) -> redis.Redis:
    """Return a client of the server on that socket, which knows all scripts and sends everything once."""
    client = redis.Redis(unix_socket_path=path, retry=Retry(NoBackoff(), 0), protocol=2)
    for name in SCRIPTS:
        client.script_load(script(name).text)
    return client


def _ask(client: redis.Redis, command: Command) -> Any:
    return client.execute_command(*command)  # type: ignore[no-untyped-call]


def steps(client: redis.Redis, worker: str, want: int) -> Iterator[StepReply]:
    """Step again and again; each call acknowledges what the one before it has brought.

    Args:
        client: of the server.
        worker: the worker id.
        want: tasks to claim in each call.
    """
    settings, keys = Settings(), Keys(QUEUE)
    lease = round(settings.lease * 1000)
    _ask(client, commands.register(keys, worker, lease))
    done: list[str] = []
    no = 0
    while True:
        no += 1
        step = commands.step(
            keys, worker, no, lease, want, done, [], largest=settings.max_payload, has_turn=False, others=0
        )
        reply = answers.parse_step(_ask(client, step))
        done = [delivery for delivery, _ in reply.claims]
        yield reply


def claim_all(number: int, permits: int) -> None:
    """Claim until nothing is left, and count what is claimed.

    Args:
        number: which process this is.
        permits: tasks in one call.
    """
    meter = inherited()
    for reply in steps(connect(_socket()), f"bare-{number}", permits):
        if not reply.claims:
            return
        meter.count(len(reply.claims))


def move() -> None:
    """Move what is in the queue to another list, one command an element."""
    client = connect(_socket())
    while client.lmove(QUEUE, "moved"):
        pass


def _wait(number: int) -> None:
    client = connect(_socket())
    for reply in steps(client, f"bare-{number}", 20):
        for _, frame in reply.claims:
            work.age(decode(frame.partition(b"\n")[2])["data"])
        _ask(client, commands.wait(Keys(QUEUE), 1.0))


def _socket() -> str:
    return work.REDIS.removeprefix("unix://")


async def _timer(naps: int, permits: int) -> None:
    async def sleep(times: int) -> None:
        for _ in range(times):
            await work.ASYNC["nap"](work.NAP)

    await asyncio.gather(*[sleep(naps // PROCS // permits) for _ in range(permits)])


async def _loop(tasks: int, permits: int) -> None:
    free = asyncio.Semaphore(permits)

    async def task() -> None:
        work.noop(0)
        free.release()

    async with asyncio.TaskGroup() as group:
        for _ in range(tasks // PROCS):
            await free.acquire()
            group.create_task(task())


def _run(main: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)


def main() -> int:
    """Fork the processes and wait for them.

    Returns:
        The exit code.
    """
    numbers = [int(argument) for argument in sys.argv[2:]]
    modes: dict[str, Callable[[int], None]] = {
        "steps": lambda number: claim_all(number, *numbers),
        "wait": _wait,
        "timer": lambda _: _run(_timer(*numbers)),
        "loop": lambda _: _run(_loop(*numbers)),
    }
    mode = modes[sys.argv[1]]
    for number in range(PROCS):
        if os.fork() == 0:
            mode(number)
            os._exit(0)
    return max(os.waitstatus_to_exitcode(os.wait()[1]) for _ in range(PROCS))


if __name__ == "__main__":
    sys.exit(main())
