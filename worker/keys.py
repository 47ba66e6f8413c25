"""Every Redis key. All keys of a queue lie in one hash slot, so one script may touch them all, in a cluster too."""

from dataclasses import dataclass
from functools import cached_property, lru_cache

from multiworker.worker.errors import SettingsError

MAX_QUEUE_NAME = 200
"""Characters in a queue's name."""


@lru_cache(maxsize=256)
def hash_tag(queue: str) -> str:
    """Return what Redis Cluster hashes of this queue's name.

    Args:
        queue: the list's name.

    Returns:
        The text between the first pair of braces if there is one, else the whole name.

    Raises:
        SettingsError: the name is empty, too long, has control characters, or braces that form no tag
            (``a}b`` and ``{a}b}`` would hash differently from the keys made of them).
    """
    if not 1 <= len(queue) <= MAX_QUEUE_NAME or not queue.isprintable():
        raise SettingsError(f"a queue's name has 1-{MAX_QUEUE_NAME} printable characters, not {queue[:50]!r}")
    if "{" not in queue and "}" not in queue:
        return queue
    before, _, rest = queue.partition("{")
    tag, closing, after = rest.partition("}")
    if not tag or not closing or any(brace in before + tag + after for brace in "{}"):
        raise SettingsError(
            f"braces in a queue's name must be one pair around a hash tag, as in a{{b}}c, not {queue!r}"
        )
    return tag


@dataclass(frozen=True)
class Keys:
    """The keys of one queue.

    Args:
        queue: the list's name, as producers LPUSH to it.
    """

    queue: str

    @cached_property
    def prefix(self) -> str:
        """What stands before every key but the list itself."""
        return self.queue if "{" in self.queue else "{" + self.queue + "}"

    @property
    def handoff(self) -> str:
        """LIST: moved here by anybody's blocking wait; the head of the queue."""
        return f"{self.prefix}:handoff"

    @property
    def scheduled(self) -> str:
        """ZSET: frame -> due ms. Retries, delayed tasks, tasks given back after a crash; all without a priority."""
        return f"{self.prefix}:scheduled"

    @property
    def priority(self) -> str:
        """ZSET: frame -> score of its place. Only tasks whose priority is not 0."""
        return f"{self.prefix}:priority"

    @property
    def deferred(self) -> str:
        """ZSET: frame -> due ms. Tasks with a priority that wait for their time: delayed ones, and retries."""
        return f"{self.prefix}:deferred"

    @property
    def suspects(self) -> str:
        """LIST: frames that were in flight in two crashes; each runs alone."""
        return f"{self.prefix}:suspects"

    @property
    def dead(self) -> str:
        """STREAM: the dead letters."""
        return f"{self.prefix}:dead"

    @property
    def counters(self) -> str:
        """HASH: dead_bytes, dead_dropped, sequence."""
        return f"{self.prefix}:counters"

    @property
    def workers(self) -> str:
        """ZSET: worker -> lease end in ms of Redis TIME, and the marks of upkeep, which begin with ``*``."""
        return f"{self.prefix}:workers"

    def inflight(self, worker: str) -> str:
        """HASH: delivery id -> frame, ``no`` and the worker's counters."""
        return f"{self.prefix}:inflight:{worker}"

    def oversized(self, task_id: str) -> str:
        """STRING with a TTL: an element too large to travel, until its worker has hashed it."""
        return f"{self.prefix}:oversized:{task_id}"

    def result(self, task_id: str) -> str:
        """HASH with a TTL: how a task fares that wants a result."""
        return f"{self.prefix}:result:{task_id}"

    @property
    def results(self) -> str:
        """ZSET with a TTL: id -> when its result expires, in ms; only results that have ended."""
        return f"{self.prefix}:results"

    def card(self, worker: str) -> str:
        """STRING for 15 s: who a worker is, how it fares and what it runs, in its own words."""
        return f"{self.prefix}:card:{worker}"

    def minute(self, number: int) -> str:
        """HASH for an hour: what ended in a minute of Redis TIME, counted from the epoch."""
        return f"{self.prefix}:minute:{number}"

    def of_worker(self, worker: str) -> tuple[str, ...]:
        """Return the KEYS of every script, in the order of lua/prelude.lua; worker may be empty."""
        return _of_worker(self, worker)


@lru_cache(maxsize=256)
def _of_worker(keys: Keys, worker: str) -> tuple[str, ...]:
    return (
        keys.queue,
        keys.handoff,
        keys.scheduled,
        keys.priority,
        keys.deferred,
        keys.suspects,
        keys.dead,
        keys.counters,
        keys.workers,
        keys.inflight(worker),
    )
