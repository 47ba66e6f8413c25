"""What all views of one queue begin with: those of operators, of the pages, and of whoever else looks from outside."""

from collections.abc import Callable
from typing import Any

from multiworker.worker.commands import Command
from multiworker.worker.keys import Keys, hash_tag


class View:
    """One queue, seen from outside.

    Args:
        ask: sends a command and returns its reply, such as Client.ask; what it raises, RedisUnavailable above all, all
            methods raise.
        queue: the list's name.

    Raises:
        SettingsError: the name cannot be.
    """

    def __init__(self, ask: Callable[[Command], Any], queue: str) -> None:
        hash_tag(queue)
        self.queue = queue
        self._ask = ask
        self._keys = Keys(queue)
