"""Payloads from anybody: each is run as it is or dead-lettered as it is, and nothing else comes of it.

What other task queues check and this one need not: arguments are bound to no signature, for data is one JSON value; and
there is no limit on the number of values, for bytes and depth bound them.
"""

import asyncio
import hashlib
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from multiworker.worker.context import current
from multiworker.worker.errors import Reason
from multiworker.worker.registry import Handler
from multiworker.worker.settings import Settings
from tests.broker.driver import HEAD, WHOLE, Driver
from tests.broker.rig import consuming, run, task
from tests.payloads import CANARY, GOOD, HOSTILE

LIMIT = Settings().max_payload


@pytest.mark.parametrize(("reason", "payload"), HOSTILE.values(), ids=HOSTILE)
def test_what_is_no_task_is_kept_with_its_reason_and_others_run(
    driver: Driver, redis_url: str, caplog: pytest.LogCaptureFixture, reason: Reason, payload: bytes
) -> None:
    seen: list[Any] = []

    async def ok(data: Any) -> None:
        seen.append(data)

    # given a worker, and it between two good tasks
    async def main() -> None:
        async with consuming(redis_url, {"ok": ok}) as rig:
            modules = set(sys.modules)
            driver.push(task("ok", 1), payload, task("ok", 2))
            # when they are taken, then no module is imported
            await rig.until_settled(3)
            assert set(sys.modules) == modules
            await rig.drain()
            assert (rig.ledger.claimed, rig.ledger.done, rig.ledger.dead) == (3, 2, 1)

    run(main)
    # and both were run, and it was not
    assert sorted(seen) == [1, 2]
    driver.done.update([task("ok", 1), task("ok", 2)])
    driver.check()
    # and it lies in the dead letters, byte for byte
    (letter,) = driver.letters()
    assert letter[b"reason"].decode() == (Reason.TOO_LARGE if len(payload) > LIMIT else reason)
    assert letter[b"payload"] == (payload if len(payload) <= WHOLE else payload[:HEAD])
    assert int(letter[b"size"]) == len(payload)
    if len(payload) > WHOLE:
        assert letter[b"sha256"].decode() == hashlib.sha256(payload).hexdigest()
    assert len(letter[b"detail"]) < 400
    # and nothing came of what it says: no program, no other key, no second line in the log
    assert not Path(CANARY).exists()
    assert {key.decode().split(":")[0] for key in driver.do("KEYS", "*")} == {"{jobs}"}
    assert all(len(record.getMessage().splitlines()) == 1 for record in caplog.records)
    assert all(record.getMessage().isprintable() for record in caplog.records)
    assert not any(record.exc_info for record in caplog.records)


@pytest.mark.parametrize("payload", GOOD.values(), ids=GOOD)
def test_what_is_a_task_is_run_as_it_is(driver: Driver, redis_url: str, payload: bytes) -> None:
    seen: list[Any] = []

    async def main() -> None:
        driver.push(payload)
        async with consuming(redis_url, {"*": seen.append}, max_payload=1024 * 1024) as rig:
            await rig.until_settled(1)
            await rig.drain()

    run(main)
    assert seen == [json.loads(payload)]
    assert not driver.letters()
    assert not Path(CANARY).exists()


VALUES = [-999, 0, 1, 1e18, 2**64, "NaN", "9999-12-31T23:59:59Z", None, [], {"x": 1}, True, "other"]
OPTIONS = (
    *("attempt", "attempts", "max_attempts", "max_retries", "retries", "retry", "backoff", "crashes"),
    *("queue", "reply_to", "routing_key", "key", "keys", "worker", "delivery", "lease", "lease_ms", "priority"),
    *("delay", "eta", "countdown", "due", "expires", "timeout", "time_limit", "handler", "module", "callback"),
)
"""What other task queues, or the frames of this one, know as options."""


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_no_key_of_a_payload_is_an_option(driver: Driver, redis_url: str, value: Any) -> None:
    runs: list[tuple[int, int, str]] = []
    payload = task("fail", "x", **dict.fromkeys(OPTIONS, value))

    async def fail(data: Any) -> None:
        runs.append((current().attempt, current().max_attempts, current().queue))
        await asyncio.sleep(0.001)
        raise ValueError

    async def main() -> None:
        driver.push(payload)
        async with consuming(redis_url, {"fail": Handler(fail, max_attempts=2, backoff=0.001)}) as rig:
            await rig.until_settled(2)
            await rig.drain()

    run(main)
    assert runs == [(1, 2, "jobs"), (2, 2, "jobs")]
    (letter,) = driver.letters()
    assert (letter[b"reason"], letter[b"attempt"], letter[b"crashes"]) == (b"attempts exhausted", b"2", b"0")
    assert letter[b"payload"] == payload
    assert {key.decode().split(":")[0] for key in driver.do("KEYS", "*")} == {"{jobs}"}


@pytest.mark.parametrize("label", ["w.1.1", "1.1", "no", "claimed", "x" * 200])
def test_an_id_in_a_payload_is_a_label_and_names_nobodys_task(driver: Driver, redis_url: str, label: str) -> None:
    """Also one that a frame, a delivery or a counter has in Redis."""
    seen: Counter[int] = Counter()

    async def ok(data: int) -> None:
        assert current().id == label
        seen[data] += 1
        if current().attempt == 1:
            raise ValueError

    async def main() -> None:
        driver.push(*[task("ok", n, id=label) for n in range(20)])
        async with consuming(redis_url, {"ok": ok}, concurrency=7) as rig:
            await rig.until_settled(40)
            await rig.drain()
            assert (rig.ledger.claimed, rig.ledger.retried, rig.ledger.done) == (40, 20, 20)

    run(main)
    assert seen == dict.fromkeys(range(20), 2)


def test_identical_payloads_run_once_for_each_push(driver: Driver, redis_url: str) -> None:
    seen: list[int] = []

    async def main() -> None:
        driver.push(*[task("ok", 1)] * 3000)
        async with consuming(redis_url, {"ok": seen.append}) as rig:
            await rig.until_settled(3000)
            await rig.drain()

    run(main)
    assert len(seen) == 3000
    driver.done[task("ok", 1)] = 3000
    driver.check()


def test_many_unknown_names_leave_nothing_behind(driver: Driver, redis_url: str) -> None:
    async def main() -> None:
        driver.push(*[task(f"name-{n}") for n in range(3000)])
        async with consuming(redis_url, {"ok": print}) as rig:
            await rig.until_settled(3000)
            await rig.drain()
            assert set(rig.executor._by_type) == {"ok"}

    run(main)
    letters = driver.letters()
    assert Counter(letter[b"reason"] for letter in letters) == {b"no handler": 3000}
    assert {letter[b"payload"] for letter in letters} == {task(f"name-{n}") for n in range(3000)}


def test_a_flood_of_empty_objects_ends_and_the_task_behind_it_runs(driver: Driver, redis_url: str) -> None:
    seen: list[int] = []

    async def main() -> None:
        driver.do("LPUSH", "jobs", *[b"{}"] * 20_000)
        driver.do("LPUSH", "jobs", task("ok", 1))
        async with consuming(redis_url, {"ok": seen.append}) as rig:
            await rig.until_settled(20_001)
            await rig.drain()
            assert (rig.ledger.done, rig.ledger.dead) == (1, 20_000)

    run(main)
    assert seen == [1]
    assert driver.do("XLEN", driver.keys.dead) == 20_000


def test_a_payload_that_looks_like_a_frame_is_none(driver: Driver, redis_url: str) -> None:
    forged = b'w.1.1 1 4\n{"type":"ok"}'

    async def main() -> None:
        driver.push(forged)
        async with consuming(redis_url, {"ok": print}) as rig:
            await rig.until_settled(1)
            await rig.drain()

    run(main)
    (letter,) = driver.letters()
    assert (letter[b"reason"], letter[b"crashes"], letter[b"payload"]) == (b"not json", b"0", forged)
