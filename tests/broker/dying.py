"""Tasks that die, by the workers' own scripts, for tests of the dead letters."""

from collections.abc import Callable
from importlib import resources
from typing import Any

import redis

from multiworker.worker import answers, commands
from multiworker.worker.commands import Command, Settle
from multiworker.worker.errors import Reason
from multiworker.worker.keys import Keys
from multiworker.worker.message import Frame, parse_frame

Ask = Callable[[Command], Any]
KEYS = Keys("async_tasks")
LEASE_MS = 60_000
LIMIT = 256 * 1024
"""Bytes of a payload from which on it does not travel."""


class Worker:
    """A worker that speaks the protocol by hand.

    Args:
        ask: sends a command.
        name: its id.
    """

    def __init__(self, ask: Ask, name: str = "w") -> None:
        self._ask = ask
        self._name = name
        self._no = 0
        ask(commands.register(KEYS, name, LEASE_MS))

    def claim(self, want: int = 100) -> list[tuple[str, Frame]]:
        claims = self._step(want, []).claims
        return [(delivery, parse_frame(frame)) for delivery, frame in claims]

    def bury(self, deliveries: list[str], reason: Reason, detail: str) -> None:
        self._step(0, [Settle(delivery, "dead", reason, detail) for delivery in deliveries])

    def _step(self, want: int, settles: list[Settle]) -> answers.StepReply:
        self._no += 1
        command = commands.step(
            KEYS, self._name, self._no, LEASE_MS, want, [], settles, largest=LIMIT, has_turn=False, others=0
        )
        return answers.parse_step(self._ask(command))


def bury_many(redis_client: redis.Redis, count: int, payload: str = '{"type":"t","data":%d}') -> None:
    """Make dead letters by the scripts' own function, a thousand in a call."""
    prelude = (resources.files("multiworker.worker") / "lua" / "prelude.lua").read_text()
    frame = "'task-' .. i .. ' 3 1\\n' .. ARGV[3]:format(i)"
    loop = f"for i = ARGV[1], ARGV[2] do bury({frame}, 'w', 'rejected', 'no ' .. i) end"
    for first in range(0, count, 1000):
        last = min(first + 1000, count) - 1
        redis_client.eval(f"{prelude}\n{loop}", 10, *KEYS.of_worker("w"), first, last, payload)
