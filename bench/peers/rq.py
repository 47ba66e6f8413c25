"""RQ. The pool imports this module for its settings, so that work-horses need not import it for each task."""

from typing import Any

from redis import Redis
from rq import Queue

from bench import work

REDIS_URL = work.REDIS
_queue = Queue(connection=Redis.from_url(work.REDIS))


def one(task: str, data: Any) -> None:
    _queue.enqueue(work.SYNC[task], data, result_ttl=0)


def many(task: str, chunk: list[Any]) -> None:
    function = work.SYNC[task]
    _queue.enqueue_many([Queue.prepare_data(function, (data,), result_ttl=0) for data in chunk])
