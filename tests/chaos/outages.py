"""Scenarios of a Redis that goes away, stands still, is full, or refuses."""

import resource
import time
from collections.abc import Callable

from redis.exceptions import RedisError

from tests.chaos.field import PREFIX, Field
from tests.chaos.ledger import EVERYBODY, RECORD, Fault
from tests.chaos.producer import QUEUE
from tests.chaos.report import Bars, Line

YOUNG = 2.0
"""Seconds that appendfsync everysec may lose when its host dies; a write waits so long for the last fsync at most."""
COMMAND_SIZE = 100
"""Bytes of a command in the append-only file, about."""
BACK = 5.0
"""Bar: seconds from Redis's return until what was waiting has run."""


def ended_redis(field: Field) -> Bars:
    """F5a: Redis ends in order and starts again."""
    return _restart(field, field.server.stop)


def killed_redis(field: Field) -> Bars:
    """F5b, c: Redis is killed and starts again from its append-only file."""
    return _restart(field, field.server.kill)


def _restart(field: Field, end: Callable[[], None]) -> Bars:
    field.start_all()
    producer = field.produce()
    crashes = []
    for _ in field.every():
        time.sleep(field.plan.every)
        before = time.monotonic_ns()
        end()
        time.sleep(field.plan.hold)
        field.server.start()
        field.faults.append(Fault("redis ended", EVERYBODY, before, time.monotonic_ns(), deadly=False, reach=YOUNG))
        crashes.append(before)
        _measure_return(field)
    producer.stop()
    lasting = "always" in field.server.options or end == field.server.stop
    young = [n for n, at in producer.pushed_at.items() if any(0 <= crash - at < YOUNG * 1e9 for crash in crashes)]
    return Bars(duplicates=not lasting, beside=not lasting, forgotten=() if lasting else young, accounts=lasting)


def paused_redis(field: Field) -> Bars:
    """F6: Redis stands still, in the end for longer than a lease; nobody is declared dead and nothing runs twice."""
    field.start_all()
    field.produce()
    before = {record.worker for parent in field.parents for record in parent.ready()}
    for share in (1 / 12, 1 / 3, 1):
        time.sleep(field.plan.every)
        with field.stopped(field.server.pid, kind="redis paused"):
            time.sleep(field.plan.hold * share)
        _measure_return(field)
    same = before == {record.worker for parent in field.parents for record in parent.ready()}
    field.notes.append(Line("children are the same as before", "yes" if same else "no", same))
    return Bars()


def _measure_return(field: Field) -> None:
    """Wait until as much is done as was pushed when Redis came back, and note how long that took."""

    def waiting() -> int:
        try:
            return int(field.client.llen(QUEUE) + field.client.llen(PREFIX + "handoff"))
        except RedisError:
            return 1

    done = _done(field)
    took = field.until(lambda: _done(field) > done and waiting() <= field.plan.rate / 10, "the backlog's end")
    bar = f" (at most {BACK:g} s)"
    field.notes.append(
        Line("backlog gone after Redis's return", f"{took:.1f} s{bar}", took <= BACK or not field.plan.timed)
    )


def full_memory(field: Field) -> Bars:
    """F13: Redis is at maxmemory; pushes are refused, and what is there goes on."""
    field.start_all()
    producer = field.produce(backlog=100_000)
    time.sleep(field.plan.every)
    field.client.config_set("maxmemory", "1")
    time.sleep(0.5)
    before = _done(field)
    for _ in field.every(0.5):
        pass
    went_on = _done(field) - before
    field.client.config_set("maxmemory", "0")
    field.notes.append(Line("refused pushes", str(producer.refused), producer.refused > 0))
    field.notes.append(Line("tasks done while memory was full", str(went_on), went_on > 0))
    time.sleep(1)
    return Bars()


def _done(field: Field) -> int:
    return (field.directory / "ledger").stat().st_size // (2 * RECORD.size)


def full_disk(field: Field) -> Bars:
    """F15: the append-only file cannot grow (MISCONF); everything waits, and goes on afterwards."""
    field.start_all()
    field.produce()
    for _ in field.every():
        time.sleep(field.plan.every)
        resource.prlimit(field.server.pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
        field.until(lambda: _refuses(field, "MISCONF"), "a refusal")
        time.sleep(field.plan.hold)
        resource.prlimit(field.server.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        field.until(lambda: not _refuses(field, "MISCONF"), "an end of refusals")
        _measure_return(field)
    field.notes.append(_few_lines(field))
    return Bars()


def replica(field: Field) -> Bars:
    """Redis is a replica for a while, as after a failover that went wrong (READONLY)."""
    field.start_all()
    field.produce()
    for _ in field.every():
        time.sleep(field.plan.every)
        field.client.replicaof("127.0.0.1", "1")
        field.until(lambda: _refuses(field, "read only replica"), "a refusal")
        time.sleep(field.plan.hold)
        field.client.replicaof("NO", "ONE")
        _measure_return(field)
    field.notes.append(_few_lines(field))
    return Bars()


def loading(field: Field) -> Bars:
    """F16: Redis takes long to load its data (LOADING)."""
    field.start_all()
    field.produce()
    for _ in field.every():
        time.sleep(field.plan.every)
        size = field.client.info("persistence")["aof_current_size"]
        field.server.stop()
        before = time.monotonic()
        delay = round(field.plan.hold * 1e6 / (size / COMMAND_SIZE))
        field.server.start("--key-load-delay", str(delay), "--loading-process-events-interval-bytes", "1024")
        field.notes.append(Line("loaded for", f"{time.monotonic() - before:.1f} s"))
        _measure_return(field)
    field.notes.append(_few_lines(field))
    return Bars()


def wrong_types(field: Field) -> Bars:
    """F19: one key after the other is of a wrong type for a while; nothing is done to it, and nobody dies."""
    field.start_all()
    field.produce()
    for suffix in ("", "handoff", "scheduled", "priority", "deferred", "suspects", "dead", "counters", "workers"):
        key = PREFIX + suffix if suffix else QUEUE
        field.client.eval(SWAP, 2, key, "aside")
        time.sleep(field.plan.hold)
        kept = field.client.eval(RESTORE, 2, key, "aside")
        field.notes.append(Line(f"a string at {suffix or 'the queue'}", "kept" if kept else "gone", bool(kept)))
        _measure_return(field)
    field.notes.append(_few_lines(field))
    return Bars()


SWAP = "redis.call('COPY', KEYS[1], KEYS[2]) redis.call('DEL', KEYS[1]) redis.call('SET', KEYS[1], 'not what it was')"
RESTORE = """
local same = redis.call('GET', KEYS[1]) == 'not what it was'
redis.call('DEL', KEYS[1])
if redis.call('EXISTS', KEYS[2]) == 1 then redis.call('RENAME', KEYS[2], KEYS[1]) end
return same and 1 or 0
"""


def _few_lines(field: Field) -> Line:
    """Count log lines of one child in one second, at most."""
    most = field.lines_a_second()
    return Line("log lines a second of one child, at most", str(most), most <= 1)


def _refuses(field: Field, word: str) -> bool:
    try:
        field.client.execute_command("SET", "chaos", "1")
        field.client.execute_command("DEL", "chaos")
    except RedisError as error:
        return word in str(error)
    return False
