"""One queue as Redis has it, in the form that the reference has."""

from collections.abc import Sequence
from typing import Any

from tests.broker.driver import Driver
from tests.broker.reference import Books

PARTS = (
    "queue",
    "handoff",
    "scheduled",
    "priority",
    "deferred",
    "suspects",
    "letters",
    "counters",
    "workers",
    "books",
    "oversized",
)


def snapshot(driver: Driver) -> dict[str, Any]:
    """Return every part of a queue by its name in the reference; and the ids of the dead letters."""
    seen, keys = driver.everything(), driver.keys
    stream = seen.get(keys.dead, [])
    prefix = keys.oversized("").encode()
    return {
        **{name: seen.get(getattr(keys, name), [])[::-1] for name in ("queue", "handoff", "suspects")},
        **{name: _numbers(seen.get(getattr(keys, name), [])) for name in ("scheduled", "priority", "workers")},
        "deferred": {frame: float(due) for frame, due in _pairs(seen.get(keys.deferred, [])).items()},
        "letters": [_pairs(fields) for _, fields in stream],
        "entries": [entry.decode() for entry, _ in stream],
        "counters": _numbers(seen.get(keys.counters, [])),
        "books": {name.encode(): _books(fields) for name, fields in driver.inflight_hashes().items()},
        "oversized": {key.removeprefix(prefix) for key in driver.do("KEYS", prefix + b"*")},
    }


def _pairs(flat: Sequence[Any]) -> dict[bytes, Any]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _numbers(flat: Sequence[bytes]) -> dict[bytes, int]:
    return {name: int(number) for name, number in _pairs(flat).items()}


def _books(flat: dict[bytes, bytes]) -> Books:
    meta = {name: int(flat.pop(name)) for name in (b"no", b"claimed", b"done", b"retried", b"dead")}
    return Books(**{name.decode(): number for name, number in meta.items()}, held=flat)
