"""Pushes tasks as anybody would, and writes down which of them Redis has acknowledged."""

import json
import random
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.exceptions import BusyLoadingError, RedisError, ResponseError
from redis.retry import Retry

QUEUE = "async_tasks"
PAUSE = 0.02
"""Seconds between two pushes."""
BACKLOG = 5_000
"""Tasks that may wait; more are not pushed until there are fewer."""


class Producer(threading.Thread):
    """Pushes numbered tasks, many with one LPUSH, at a steady rate.

    Args:
        url: of Redis.
        file: gets a line for each acknowledged push: the first number, how many, monotonic ns.
        first: the first task's number.
        limit: how many to push; None for as many as there is time for.
        rate: tasks a second; what could not be pushed in time is not made up for.
        seconds: how long a task sleeps, the least and the most.
        seed: of chance.
        special: number, counted from 0 -> more for that task's data.
        backlog: tasks that may wait.
    """

    def __init__(
        self,
        url: str,
        file: Path,
        *,
        first: int = 0,
        limit: int | None = None,
        rate: int = 1000,
        seconds: tuple[float, float] = (0.0, 0.0),
        seed: int = 0,
        special: dict[int, dict[str, Any]] | None = None,
        backlog: int = BACKLOG,
    ) -> None:
        super().__init__(daemon=True)
        self.limit = limit
        self.pushed_at: dict[int, int] = {}
        """Number -> monotonic ns at which Redis had acknowledged it."""
        self.unconfirmed: list[int] = []
        """Numbers whose push got no answer."""
        self.refused = 0
        """Tasks that Redis has refused."""
        self._client = redis.Redis.from_url(url, retry=Retry(NoBackoff(), 0), socket_timeout=5)
        self._file = file
        self._first = first
        self._rate = rate
        self._seconds = seconds
        self._random = random.Random(seed)
        self._special = special or {}
        self._backlog = backlog
        self._over = threading.Event()

    @property
    def acknowledged(self) -> list[int]:
        return list(self.pushed_at)

    def stop(self) -> None:
        """Push nothing more."""
        self._over.set()
        if self.ident is not None:
            self.join()

    def run(self) -> None:
        with self._client, self._file.open("a", buffering=1) as file:
            for numbers in self._batches():
                self._push(numbers, file)

    def _batches(self) -> Iterator[Sequence[int]]:
        size, start, pause = max(1, round(self._rate * PAUSE)), 0, max(PAUSE, 1 / self._rate)
        limit = self.limit or 10_000_000
        while start < limit and not self._over.is_set():
            end = min(limit, start + size)
            yield range(start, end)
            start = end
            self._over.wait(pause)

    def _push(self, numbers: Sequence[int], file: Any) -> None:
        tasks = [self._task(n) for n in numbers]
        names = [self._first + n for n in numbers]
        waiting = 0
        try:
            answer: Any = self._client.lpush(QUEUE, *tasks)
            waiting = answer
        except (ResponseError, BusyLoadingError):
            self.refused += len(names)
            self._over.wait(PAUSE)
        except RedisError:
            self.unconfirmed += names
            self._over.wait(PAUSE)
        else:
            now = time.monotonic_ns()
            self.pushed_at.update(dict.fromkeys(names, now))
            file.write(f"{names[0]} {len(names)} {now}\n")
        while waiting > self._backlog and not self._over.wait(PAUSE):
            waiting = self._waiting()

    def _waiting(self) -> int:
        try:
            answer: Any = self._client.llen(QUEUE)
        except RedisError:
            return 0
        return int(answer)

    def _task(self, n: int) -> str:
        said = {"n": self._first + n, "seconds": self._random.uniform(*self._seconds)}
        return json.dumps({"type": "chaos", "data": said | self._special.get(n, {})})
