"""Results of tasks that want one: what is recorded, when, for how long, and what never changes them."""

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import redis

from multiworker.worker import commands, inquiries
from multiworker.worker.broker import Broker
from multiworker.worker.commands import Expected, Record, Settle
from multiworker.worker.results import ENDLESS, MOST, Begun, Records, Stored, read
from multiworker.worker.settings import Settings
from tests.broker.driver import Driver
from tests.broker.rig import run
from tests.fix_redis import RedisServer
from tests.proxy import Loss, Proxy, Rule
from tests.waiting import until

PATH = "shop.tasks.add"
TTL, CAP = 60_000, 5


def payload(task_id: str) -> bytes:
    """A task as our clients write it."""
    return json.dumps({"id": task_id, "type": PATH, "data": {"args": [], "kwargs": {}}}, separators=(",", ":")).encode()


def expect(driver: Driver, *task_ids: str, due_ms: int = 0, ttl_ms: int = TTL, cap: int = CAP) -> None:
    """Make room for results, as whoever sends the tasks does."""
    more = (due_ms, ttl_ms, cap, PATH, "default", "default", 7, "", b'{"args":[],"kwargs":{}}')
    driver.call(commands.expect(driver.keys, [Expected(task_id, *more) for task_id in task_ids]))


def start(task_id: str, delivery: str = "w/1", frame: str = "f 1", path: str = PATH) -> Record:
    return ("start", task_id, delivery, path, frame, "", "")


def end(
    task_id: str, status: str, delivery: str = "w/1", value: bytes | int = b"", reason: str = "", error: str = ""
) -> Record:
    return ("end", task_id, delivery, status, value, reason, error)


def record(driver: Driver, *records: Record, worker: str = "w") -> list[Any]:
    """Write records as a child does."""
    replies: list[Any] = driver.call(commands.record(driver.keys, worker, records))
    return replies


def stored(driver: Driver, task_id: str) -> Stored | None:
    found = driver.do("HGETALL", driver.keys.result(task_id))
    return read([part for pair in found.items() for part in pair])


def known(driver: Driver, task_id: str) -> Stored:
    found = stored(driver, task_id)
    assert found
    return found


def succeed(driver: Driver, task_id: str, value: bytes = b"5") -> None:
    record(driver, start(task_id), end(task_id, "SUCCESSFUL", value=value))


def test_a_result_goes_from_ready_to_running_to_its_end(driver: Driver) -> None:
    expect(driver, "t")
    ready = known(driver, "t")
    assert (ready.status, ready.path, ready.backend, ready.queue, ready.priority) == (
        "READY", PATH, "default", "default", 7,
    )  # fmt: skip
    assert (ready.started, ready.finished, ready.workers, ready.errors, ready.value) == (None, None, [], [], b"")
    record(driver, start("t"))
    running = known(driver, "t")
    assert (running.status, running.workers) == ("RUNNING", ["w"])
    assert running.enqueued
    assert running.started
    assert running.enqueued <= running.started == running.last
    assert record(driver, end("t", "SUCCESSFUL", value=b'{"a":1}')) == [1]
    ended = known(driver, "t")
    assert (ended.status, ended.value) == ("SUCCESSFUL", b'{"a":1}')
    assert ended.finished
    assert ended.started
    assert ended.finished >= ended.started


def test_a_failed_run_waits_for_another_one_with_its_error(driver: Driver) -> None:
    expect(driver, "t")
    record(driver, start("t"), end("t", "READY", value=100, error='["ValueError","one"]'))
    assert known(driver, "t").status == "READY"
    assert known(driver, "t").errors == [("ValueError", "one")]
    record(driver, start("t", "x/9", "f 2"), worker="x")
    record(driver, end("t", "FAILED", "x/9", reason="attempts exhausted", error='["ValueError","two"]'), worker="x")
    result = known(driver, "t")
    assert (result.status, result.workers) == ("FAILED", ["w", "x"])
    assert result.errors == [("ValueError", "one"), ("ValueError", "two")]


def test_a_repeated_record_changes_nothing(driver: Driver) -> None:
    once = (start("t"), end("t", "READY", value=0, error='["ValueError","one"]'))
    expect(driver, "t")
    record(driver, once[0])
    before = driver.do("HGETALL", driver.keys.result("t"))
    record(driver, once[0], once[0])
    assert driver.do("HGETALL", driver.keys.result("t")) == before
    assert record(driver, once[1]) == [1]
    before = driver.do("HGETALL", driver.keys.result("t"))
    assert record(driver, once[1], once[1]) == [0, 0]
    assert driver.do("HGETALL", driver.keys.result("t")) == before


def test_the_late_end_of_a_run_that_another_has_replaced_has_no_effect(driver: Driver) -> None:
    expect(driver, "t")
    record(driver, start("t"))
    record(driver, start("t", "x/9"), worker="x")
    assert record(driver, end("t", "FAILED", reason="rejected", error='["E","late"]')) == [0]
    assert (known(driver, "t").status, known(driver, "t").errors) == ("RUNNING", [])
    assert record(driver, end("t", "SUCCESSFUL", "x/9")) == [1]
    assert record(driver, end("t", "FAILED")) == [0]
    assert known(driver, "t").status == "SUCCESSFUL"


def test_what_has_succeeded_is_not_to_run_again(driver: Driver) -> None:
    expect(driver, "t")
    succeed(driver, "t")
    ((ended, *_),) = record(driver, start("t", "x/9", "other 2"), worker="x")
    assert ended == b"SUCCESSFUL"
    assert (known(driver, "t").status, known(driver, "t").workers) == ("SUCCESSFUL", ["w"])


def test_what_has_failed_for_good_does_not_run_again_in_the_same_attempt_but_in_another(driver: Driver) -> None:
    expect(driver, "t")
    record(driver, start("t"), end("t", "FAILED", reason="rejected"))
    ((ended, reason, *_),) = record(driver, start("t", "x/9"), worker="x")
    assert (ended, reason) == (b"FAILED", b"rejected")
    ((ended, *_),) = record(driver, start("t", "x/10", "sent again 1"), worker="x")
    assert (ended, known(driver, "t").status, known(driver, "t").finished) == (b"", "RUNNING", None)


@pytest.mark.parametrize(("status", "kept"), [("SUCCESSFUL", "SUCCESSFUL"), ("FAILED", "FAILED")])
def test_an_end_on_record_outlives_the_process_that_did_not_acknowledge_it(
    driver: Driver, status: str, kept: str
) -> None:
    # given a worker that has recorded the end of a task, and dies before it acknowledges
    expect(driver, "t")
    driver.push(payload("t"))
    driver.step("a", 1)
    record(driver, start("t", "a/1"), end("t", status, "a/1", value=b"5", reason="rejected"))
    # when another one gets the task
    driver.recover("a")
    ((_, _frame),) = driver.step("b", 1).claims
    # then it is told so, and the result has stayed as it was
    assert known(driver, "t").status == kept
    ((ended, *_),) = record(driver, start("t", "b/1"), worker="b")
    assert ended == status.encode()
    assert known(driver, "t").value == b"5"


def test_a_run_that_its_process_did_not_survive_waits_again(driver: Driver) -> None:
    expect(driver, "t")
    driver.push(payload("t"))
    driver.step("a", 1)
    record(driver, start("t", "a/1"))
    driver.recover("a")
    assert known(driver, "t").status == "READY"
    assert record(driver, end("t", "SUCCESSFUL", "a/1")) == [0]


def test_nobody_but_the_task_that_wants_it_gets_a_result(driver: Driver) -> None:
    expect(driver, "t")
    assert record(driver, start("other"), end("other", "SUCCESSFUL"), start("t", path="os.system")) == [None, 0, None]
    assert known(driver, "t").status == "READY"
    assert not stored(driver, "other")


def test_a_result_stays_for_its_ttl_from_its_end_on(driver: Driver) -> None:
    key = driver.keys.result("t")
    expect(driver, "t", due_ms=5000)
    assert TTL + ENDLESS < driver.do("PTTL", key) <= 5000 + TTL + ENDLESS
    record(driver, start("t"))
    assert TTL < driver.do("PTTL", key) <= TTL + ENDLESS
    record(driver, end("t", "READY", value=1_000_000))
    assert TTL + ENDLESS < driver.do("PTTL", key) <= TTL + ENDLESS + 1_000_000
    succeed(driver, "t")
    assert 0 < driver.do("PTTL", key) <= TTL
    assert 0 < driver.do("PTTL", driver.keys.queue.join(("{", "}:results"))) <= TTL


def test_the_results_that_have_ended_first_go_when_there_are_too_many(timed: Driver) -> None:
    names = [f"t{n}" for n in range(CAP + 3)]
    expect(timed, "waiting", *names)
    for name in names:
        timed.clock = (timed.clock or 0) + 1
        succeed(timed, name)
    assert [name for name in names if stored(timed, name)] == names[3:]
    assert known(timed, "waiting").status == "READY"
    assert timed.do("ZCARD", "{jobs}:results") == CAP


def test_what_runs_again_does_not_count_as_ended(driver: Driver) -> None:
    expect(driver, "again", cap=1)
    record(driver, start("again"), end("again", "FAILED"), start("again", "w/2", "f 2"))
    expect(driver, "other", cap=1)
    succeed(driver, "other")
    assert known(driver, "again").status == "RUNNING"


def test_a_task_that_kills_its_workers_has_failed(driver: Driver) -> None:
    expect(driver, "t")
    driver.push(payload("t"))
    for n in range(5):
        worker = f"killed{n}"
        assert driver.register(worker)
        for _ in range(3):
            if driver.step(worker, 1, has_turn=True).claims:
                break
        record(driver, start("t", f"{worker}/1"), worker=worker)
        driver.recover(worker)
    (letter,) = driver.letters()
    assert letter[b"reason"] == b"crashed"
    result = known(driver, "t")
    assert (result.status, len(result.workers)) == ("FAILED", 5)
    assert result.errors == [("multiworker.worker.errors.DeadLettered", "crashed: signal 9")]


def test_a_task_that_is_too_large_has_failed_and_waits_again_once_it_is_requeued(driver: Driver) -> None:
    expect(driver, "t")
    driver.push(payload("t") + b" " * 2000)
    assert driver.step("a", 1, largest=1000).buried == 1
    assert known(driver, "t").status == "FAILED"
    assert known(driver, "t").errors[0][1].startswith("too large: ")
    ((letter, _),) = driver.do("XRANGE", driver.keys.dead, "-", "+")
    assert driver.call(inquiries.requeue(driver.keys, [letter])) == [b"OK"]
    result = known(driver, "t")
    assert (result.status, result.finished) == ("READY", None)
    assert driver.do("PTTL", driver.keys.result("t")) > TTL


def test_a_dead_letter_does_not_undo_what_its_worker_has_recorded(driver: Driver) -> None:
    for name, status in (("good", "SUCCESSFUL"), ("bad", "FAILED")):
        expect(driver, name)
        driver.push(payload(name))
        ((delivery, _),) = driver.step("a", 1).claims
        record(driver, start(name, "a/1"), end(name, status, "a/1", error='["E","mine"]'), worker="a")
        driver.step("a", 0, settles=[Settle(delivery, "dead", "rejected", "text")])
        assert known(driver, name).status == status
        assert known(driver, name).errors == [("E", "mine")]
    letters = [letter for letter, _ in driver.do("XRANGE", driver.keys.dead, "-", "+")]
    driver.call(inquiries.requeue(driver.keys, letters))
    assert (known(driver, "good").status, known(driver, "bad").status) == ("SUCCESSFUL", "READY")


def test_errors_and_workers_are_bounded_and_attempts_are_counted_all_the_same(driver: Driver) -> None:
    expect(driver, "t")
    for n in range(50):
        record(driver, start("t", f"w/{n}", f"f {n}"), worker=f"w{n}")
        record(driver, end("t", "READY", f"w/{n}", value=0, error=json.dumps(["E", f"line {n}\nmore"])))
    result = known(driver, "t")
    assert [text for _, text in result.errors] == [f"line {n}\nmore" for n in range(40, 50)]
    assert result.workers == ["?"] * 30 + [f"w{n}" for n in range(30, 50)]


@pytest.mark.parametrize("spoil", [("SET", "x"), ("LPUSH", "x"), ("ZADD", 1, "x"), ("HSET", "x", "y")])
def test_a_result_of_a_wrong_type_is_none_and_does_no_harm(driver: Driver, spoil: tuple[Any, ...]) -> None:
    for key in (driver.keys.result("t"), "{jobs}:results"):
        driver.do("DEL", key)
        driver.do(spoil[0], key, *spoil[1:])
    driver.push(payload("t"), payload("good"))
    expect(driver, "good")
    assert record(driver, start("t"), end("t", "SUCCESSFUL")) == [None, 0]
    driver.step("a", 2)
    driver.recover("a")
    assert driver.claim("b", 2)
    succeed(driver, "good")
    assert known(driver, "good").status == "SUCCESSFUL"
    assert driver.do("ZRANGE", "{jobs}:results", 0, -1) == [b"good"]


@pytest.mark.parametrize("text", ["", "nan", "-1", "1e300", "9" * 30, "\xff", "READY\n"])
def test_a_result_that_somebody_has_spoiled_holds_nobody_up(driver: Driver, text: str) -> None:
    fields = ("ttl", "cap", "attempts", "workers", "errors", "enqueued", "priority", "finished", "started", "run")
    expect(driver, "t", "status", "good")
    for field in fields:
        driver.do("HSET", driver.keys.result("t"), field, text)
    driver.do("HSET", driver.keys.result("status"), "status", text)
    driver.push(payload("t"))
    driver.step("a", 1)
    record(driver, start("t"), start("status"), start("good"))
    driver.recover("a")
    record(driver, start("t"), end("t", "READY", value=0), end("good", "SUCCESSFUL"))
    record(driver, start("t", "w/2"), end("t", "FAILED", "w/2"))
    assert known(driver, "good").status == "SUCCESSFUL"
    found = stored(driver, "t")
    assert found is None or found.status == "FAILED"
    driver.do("HSET", driver.keys.result("status"), "status", text)
    assert stored(driver, "status") is None


def test_hostile_bytes_in_a_payload_or_a_detail_are_text_at_most(driver: Driver) -> None:
    noise = random.Random(5).randbytes(300)
    for n, text in enumerate((noise, b'"],["os.system","', b"\n\n\x00", b"\xff\xfe")):
        name = f"t{n}"
        expect(driver, name)
        driver.push(payload(name)[:-1] + b',"x":"' + text + b'"}')
        ((delivery, _),) = driver.step("a", 1).claims
        driver.step("a", 0, settles=[Settle(delivery, "dead", "rejected", text)])  # type: ignore[arg-type]
        assert known(driver, name).status == "FAILED"
        ((path, said),) = known(driver, name).errors
        assert path == "multiworker.worker.errors.DeadLettered"
        assert said == "rejected: " + text.decode("utf-8", "replace")


@pytest.mark.parametrize("name", ["a\nb", "../x", "", "*", "x" * 10_000, 'y"', "{jobs}", "é"])
def test_an_id_that_is_none_of_ours_finds_no_result(driver: Driver, name: str) -> None:
    driver.do("SET", driver.keys.result("bystander"), "kept")
    driver.push(json.dumps({"id": name, "type": PATH}).encode())
    driver.step("a", 1)
    driver.recover("a")
    assert driver.claim("b")
    assert driver.do("KEYS", "*result*") == [driver.keys.result("bystander").encode()]


# The writer of a child


@asynccontextmanager
async def writing(url: str) -> AsyncIterator[Records]:
    """A child's records of one queue."""
    broker = Broker("jobs", Settings(redis=url))
    broker.worker = "w"
    records = Records(broker, url)
    try:
        yield records
    finally:
        await records._wire.close()


def test_a_child_learns_what_is_known_of_a_task_that_it_starts(driver: Driver, redis_url: str) -> None:
    expect(driver, "t")

    async def main() -> Begun | None:
        async with writing(redis_url) as records:
            first = await records.start("t", "1", PATH, "f 1")
            assert first
            assert (first.ended, first.stored.status, first.stored.workers) == ("", "RUNNING", ["w"])
            await records.end("t", "1", "READY", delay=1.5, error=("ValueError", "line\nline"))
            second = await records.start("t", "2", PATH, "f 2")
            assert second
            assert second.stored.errors == [("ValueError", "line\nline")]
            await records.end("t", "2", "FAILED", reason="rejected", error=("E", "é"))
            assert await records.start("none", "3", PATH, "f 1") is None
            return await records.start("t", "4", PATH, "f 2")

    begun = run(main)
    assert begun
    assert (begun.ended, begun.reason) == ("FAILED", "rejected")
    assert begun.stored.errors == [("ValueError", "line\nline"), ("E", "é")]
    assert known(driver, "t").priority == 7


def test_what_gathers_during_a_call_goes_out_in_one(driver: Driver, proxy: Proxy) -> None:
    names = [f"t{n}" for n in range(3 * MOST)]
    expect(driver, *names, cap=10_000)

    async def main() -> None:
        async with writing(proxy.url) as records:
            assert all(await asyncio.gather(*[records.start(name, "1", PATH, "f 1") for name in names]))
            await asyncio.gather(*[records.end(name, "1", "SUCCESSFUL", value=b"1") for name in names])

    run(main)
    assert proxy.seen("record") - proxy.did(Loss.REPLY, "record") <= 7  # one is refused where the script is not known
    assert {known(driver, name).status for name in names} == {"SUCCESSFUL"}


def test_large_records_go_out_in_parts(driver: Driver, proxy: Proxy) -> None:
    names = [f"t{n}" for n in range(12)]
    expect(driver, *names, cap=100)

    async def main() -> None:
        async with writing(proxy.url) as records:
            await asyncio.gather(*[records.start(name, "1", PATH, "f 1") for name in names])
            before = proxy.seen("record")
            value = b'"' + b"x" * 250_000 + b'"'
            await asyncio.gather(*[records.end(name, "1", "SUCCESSFUL", value=value) for name in names])
            assert proxy.seen("record") - before == 3

    run(main)
    assert {len(known(driver, name).value) for name in names} == {250_002}


def test_a_lost_reply_is_made_good(driver: Driver, proxy: Proxy) -> None:
    expect(driver, "t")

    async def main() -> None:
        async with writing(proxy.url) as records:
            proxy.lose("record")
            begun = await records.start("t", "1", PATH, "f 1")
            assert begun
            assert (begun.ended, begun.stored.workers) == ("", ["w"])
            proxy.add(Rule(Loss.REQUEST, "record", 2))
            await records.end("t", "1", "READY", error=("E", "one"))
            proxy.lose("record")
            await records.end("t", "1", "READY", error=("E", "two"))

    run(main)
    assert (known(driver, "t").errors, len(known(driver, "t").workers)) == ([("E", "one")], 1)


def test_a_child_waits_as_long_as_redis_is_away(private_redis: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with writing(private_redis.url) as records:
            with redis.Redis.from_url(private_redis.url) as client:
                expect(Driver(client), "t")
            await records.start("t", "1", PATH, "f 1")
            private_redis.stop()
            late = asyncio.ensure_future(records.end("t", "1", "SUCCESSFUL"))
            await until(lambda: "results wait to be recorded" in caplog.text)
            assert not late.done()
            await asyncio.to_thread(private_redis.start)
            with redis.Redis.from_url(private_redis.url) as client:
                driver = Driver(client)
                expect(driver, "t")  # the server has kept nothing; the late end is of a run that it does not know
                await late
                assert known(driver, "t").status == "READY"

    run(main)


def test_somebody_who_no_longer_waits_holds_nobody_up(driver: Driver, proxy: Proxy) -> None:
    expect(driver, "t", "u")

    async def main() -> None:
        async with writing(proxy.url) as records:
            proxy.hold("record")
            gone = asyncio.ensure_future(records.start("t", "1", PATH, "f 1"))
            await until(lambda: proxy.holds() == 1)
            gone.cancel()
            other = asyncio.ensure_future(records.start("u", "1", PATH, "f 1"))
            proxy.release()
            assert await other

    run(main)
