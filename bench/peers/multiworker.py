"""multiworker. The worker reads REDIS_URL, and so does the producer."""

from typing import Any

from bench.work import ASYNC
from multiworker import enqueue, enqueue_many, handler

noop = handler("noop")(ASYNC["noop"])
nap = handler("nap")(ASYNC["nap"])
burn = handler("burn")(ASYNC["burn"])
blob = handler("blob")(ASYNC["blob"])
age = handler("age")(ASYNC["age"])
hold = handler("hold")(ASYNC["hold"])


def one(task: str, data: Any) -> None:
    enqueue(task, data)


def many(task: str, chunk: list[Any]) -> None:
    enqueue_many((task, data) for data in chunk)
