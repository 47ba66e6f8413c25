"""Random histories of the protocol, and the same with a fault in one script, which they must notice."""

from collections import Counter

import pytest
import redis

from tests.broker.driver import Edit
from tests.broker.history import History

HISTORIES = 40
SEEDS_FOR_A_FAULT = 150
"""A fault that shows in none of so many histories counts as unnoticed."""
STALE = "if no <= tonumber(seen) then return {'STALE'} end"
NUMBER = "call('HSET', HELD, 'no', ARGV[2])"
FENCED = "if not seen then return {'FENCED'} end"
POP = "call('LTRIM', key, 0, -1 - used)"
RECORD = "if #reply >= first then call('HSET', HELD, unpack(reply, first)) end"
ALONE = "local holds_nothing = call('HLEN', HELD) == META and others == 0"
FAULTS = {
    "a step's number is not looked at": Edit(STALE, "", "step"),
    "a reconcile's number is not looked at": Edit(STALE, "", "reconcile"),
    "a step's number is not kept": Edit(NUMBER, "", "step"),
    "the dead are served": Edit(FENCED, "seen = seen or 0", "step"),
    "recover trusts an old upkeep": Edit(" or now - tick > outage", "", "recover"),
    "recover knows no grace": Edit(" or grace > now", "", "recover"),
    "recover does not look at the lease": Edit("lease > now or ", "", "recover"),
    "recover leaves the hash": Edit("call('DEL', HELD)\n", "", "recover"),
    "what was read and not taken is popped": Edit(POP, "call('LTRIM', key, 0, -1 - #chunk)"),
    "what was taken is not popped": Edit(POP, ""),
    "what was claimed is not written down": Edit(RECORD, ""),
    "what was settled stays in flight": Edit("if frame then call('HDEL', HELD, delivery) end", ""),
    "what was due is not removed": Edit("call('ZREM', key, frames[i])", ""),
    "a suspect has company": Edit(ALONE, "local holds_nothing = true"),
}


def test_nothing_is_lost_or_run_twice_whatever_happens(redis_client: redis.Redis) -> None:
    saw: Counter[str] = Counter()
    for seed in range(HISTORIES):
        history = History(redis_client, seed)
        try:
            history.go()
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
        saw += history.saw
    expected = {"late OK", "late STALE", "late FENCED", "reply lost", "sent twice", "adopted", "fenced", "suspect"}
    expected |= {"recovered dead", "recovered left", "recovered expired", "reconcile lost", "outage", "frozen"}
    expected |= {"priority", "delayed priority"}
    assert expected <= set(saw), "these histories are too tame"


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_a_script_is_noticed(redis_client: redis.Redis, fault: str) -> None:
    for seed in range(SEEDS_FOR_A_FAULT):
        history = History(redis_client, seed, [FAULTS[fault]])
        try:
            history.go()
        except (AssertionError, redis.ResponseError):
            return
    pytest.fail("no history noticed it")
