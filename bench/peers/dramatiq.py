"""Dramatiq. An actor is acknowledged when it is done; results are off unless asked for."""

from typing import Any

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from bench import work

dramatiq.set_broker(RedisBroker(url=f"{work.REDIS}?max_connections={work.CONNECTIONS}"))
ACTORS = {name: dramatiq.actor(actor_name=name)(function) for name, function in work.SYNC.items()}


def one(task: str, data: Any) -> None:
    ACTORS[task].send(data)


def many(task: str, chunk: list[Any]) -> None:
    """Send one by one: a group does the same, with more around it."""
    for data in chunk:
        ACTORS[task].send(data)
