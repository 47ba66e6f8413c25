"""Scripts that stop before any of their writes: what is kept is written first, and removed from where it was last.

Redis runs a script as a whole, so this is a second line of defence: against an error that nobody thought of.
"""

from collections import Counter
from collections.abc import Callable

import pytest
import redis

from multiworker.worker import commands, inquiries
from multiworker.worker.commands import Command, Settle
from tests.broker.driver import LARGEST, LEASE_MS, NOON, WHOLE, Driver, Edit, known_by
from tests.broker.reference import payload_of

STOP = Edit(
    "local call = redis.call",
    """
local WRITES = {}
for _, name in ipairs({'DEL', 'HDEL', 'HINCRBY', 'HSET', 'LPUSH', 'LTRIM', 'SET', 'XADD', 'XDEL', 'ZADD', 'ZREM'}) do
  WRITES[name] = true
end
local before = tonumber(redis.call('GET', 'test:stop') or 0)
local function call(name, ...)
  if WRITES[name] then
    before = before - 1
    if before == 0 then error('stopped') end
  end
  return redis.call(name, ...)
end
""",
)
LEAST_WRITES = 3
"""Fewer than any of these calls does."""


def step(driver: Driver) -> Command:
    """It acknowledges, settles, promotes, and claims from everywhere but the suspects."""
    driver.push(b"acked", b"again", b"dead")
    driver.step("a", 3)
    driver.pushed[b"again, soon"] += 1
    driver.call(commands.schedule(driver.keys, 0, 3, [("s", b"again, soon")]))
    driver.step("a", 1)
    for n, (delay, priority) in enumerate(((0, 0), (0, 1), (0, -1), (5, 1), (5, -1))):
        driver.pushed[b"p%d" % n] += 1
        driver.call(commands.schedule(driver.keys, delay, priority, [(f"t{n}", b"p%d" % n)]))
    driver.do("ZADD", driver.keys.deferred, NOON, b"somebody else's")
    driver.pushed[b"somebody else's"] += 1
    assert driver.clock
    driver.clock += 5
    driver.push(*(b"%d" % n for n in range(30)), b"m" * (LARGEST + 1), b"L" * (WHOLE + 1))
    driver.hand_off()
    del driver.pushed[b"acked"]
    settles = [Settle("1.2", "retry", 0, ""), Settle("1.3", "dead", "rejected", ""), Settle("2.1", "retry", 9, "")]
    return step_of(driver, 50, ["1.1"], settles)


def suspect(driver: Driver) -> Command:
    driver.pushed[b"s"] += 1
    driver.do("LPUSH", driver.keys.suspects, b"t 1 2\ns")
    return step_of(driver, 1, [], [])


def recover(driver: Driver) -> Command:
    """One of what is given back is a suspect from now on."""
    driver.push(b"x", b"y")
    driver.do("ZADD", driver.keys.priority, -1, b"t 1 1\nz")
    driver.pushed.update([b"z", b"first"])
    driver.call(commands.schedule(driver.keys, 0, 9, [("first", b"first")]))
    driver.step("a", 4)
    return commands.recover(driver.keys, "a", "dead", "")


def bury(driver: Driver) -> Command:
    driver.do("LPUSH", driver.keys.suspects, b"t 1 4\ns")
    driver.pushed[b"s"] += 1
    driver.step("a", 1)
    return commands.recover(driver.keys, "a", "dead", "")


def requeue(driver: Driver) -> Command:
    driver.push(b"x", b"y")
    driver.pushed[b"first"] += 1
    driver.call(commands.schedule(driver.keys, 0, 9, [("first", b"first")]))
    driver.step("a", 3)
    driver.step("a", 0, settles=[Settle(f"1.{n}", "dead", "rejected", "") for n in (1, 2, 3)])
    entries = [entry.decode() for entry, _ in driver.do("XRANGE", driver.keys.dead, "-", "+")]
    return inquiries.requeue(driver.keys, entries)


def step_of(driver: Driver, want: int, acks: list[str], settles: list[Settle]) -> Command:
    no = driver.number("a")
    return commands.step(driver.keys, "a", no, LEASE_MS, want, acks, settles, largest=LARGEST, has_turn=False, others=0)


CALLS: dict[str, Callable[[Driver], Command]] = {
    call.__name__: call for call in (step, suspect, recover, bury, requeue)
}
WRITE = "    if #reply >= first then call('HSET', HELD, unpack(reply, first)) end\n"
POP = "    call('LTRIM', key, 0, -1 - used)\n"
TAKE = "    local id, _, crashes = split(frame)\n    if not id"
HOLD_SUSPECT = "    call('HSET', HELD, claim(n, frame), frame)\n    call('LTRIM', SUSPECTS, 0, -2)\n"
GET = "  local frame = call('HGET', HELD, delivery)\n"
RUN_AGAIN = "      line_up(0, priority or 0, field.id, 1, 0, '', field.payload)\n"
DELETE = "      call('XDEL', DEAD, ARGV[i])\n"
PROMOTE = "    local _, priority = score_of(place or '')\n    if priority"
FAULTS = {
    "the list is popped first": ("step", Edit(WRITE + POP, POP + WRITE, "step")),
    "what is due is removed first": ("step", Edit(TAKE, "call('ZREM', key, frame)\n" + TAKE, "step")),
    "what is settled is deleted first": ("step", Edit(GET, GET + "call('HDEL', HELD, delivery)\n", "step")),
    "what is promoted is removed first": ("step", Edit(PROMOTE, "call('ZREM', DEFERRED, frame)\n" + PROMOTE, "step")),
    "the suspect is popped first": (
        "suspect",
        Edit(HOLD_SUSPECT, "call('LTRIM', SUSPECTS, 0, -2)\ncall('HSET', HELD, claim(n, frame), frame)\n", "step"),
    ),
    "the hash is deleted first": ("recover", Edit("local counted", "call('DEL', HELD)\nlocal counted", "recover")),
    "the suspect's hash is deleted first": ("bury", Edit("local alone", "call('DEL', HELD)\nlocal alone", "recover")),
    "the dead letter is deleted first": (
        "requeue",
        Edit(RUN_AGAIN + DELETE, DELETE + RUN_AGAIN, "requeue"),
    ),
}


def lost(client: redis.Redis, prepare: Callable[[Driver], Command], *edits: Edit) -> tuple[Counter[bytes], int]:
    """Stop a call before its first write, its second, and so on; return what is lost by that, and their number."""
    missing: Counter[bytes] = Counter()
    for write in range(1, 1000):
        client.flushall()
        driver = Driver(client, edits=[STOP, *edits], clock=NOON)
        driver.register("a")
        command = prepare(driver)
        driver.do("SET", "test:stop", write)
        try:
            driver.call(command)
        except redis.ResponseError as error:
            if "stopped" not in str(error):
                raise
            missing |= driver.pushed - places(driver)
        else:
            return missing, write - 1
    raise AssertionError("the call never came to its end")


def places(driver: Driver) -> Counter[bytes]:
    """Every payload, as often as it lies somewhere."""
    found = [*driver.waiting(), *(letter[b"payload"] for letter in driver.letters())]
    sets = (driver.keys.scheduled, driver.keys.priority, driver.keys.deferred)
    frames = [*(frame for key in sets for frame in driver.do("ZRANGE", key, 0, -1)), *driver.suspects()]
    return Counter(map(known_by, [*found, *map(payload_of, [*frames, *driver.held("a").values()])]))


@pytest.mark.parametrize("call", CALLS)
def test_a_call_that_stops_loses_nothing(redis_client: redis.Redis, call: str) -> None:
    missing, writes = lost(redis_client, CALLS[call])
    assert not missing
    assert writes >= LEAST_WRITES


@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_order_is_noticed(redis_client: redis.Redis, fault: str) -> None:
    call, edit = FAULTS[fault]
    missing, _ = lost(redis_client, CALLS[call], edit)
    assert missing
