"""The scripts against a reference in Python, in random order; and the same with a fault in one script."""

import os
from collections.abc import Sequence

import pytest
import redis
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.broker.driver import Edit
from tests.broker.machine import Protocol
from tests.broker.test_histories import FAULTS as FAULTS_OF_HISTORIES

LONG = int(os.environ.get("MODEL_EXAMPLES", "0"))
"""How many histories, other ones every time; by default they are few, and always the same."""
BASE = settings(
    max_examples=LONG or 300,
    stateful_step_count=50,
    derandomize=not LONG,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
FAULTS = {
    **FAULTS_OF_HISTORIES,
    "a counter misses one": Edit("if by > 0 then", "if by > 1 then", "step"),
    "upkeep knows no grace": Edit("if now - tick > outage then", "if false then", "upkeep"),
    "the lease is not renewed": Edit("call('ZADD', WORKERS, now + lease, worker)", "", "step"),
    "an id is good for two lives": Edit("if call('EXISTS', HELD) == 1 or ", "if false and ", "register"),
    "recover finds a wrong type too late": Edit("check_types()\nif why", "if why", "recover"),
    "recover wakes nobody": Edit("if back > 0 then ring() end", "", "recover"),
    "recover counts no crash": Edit("crashes = crashes + counted", "", "recover"),
    "an innocent is buried": Edit("if counted == 1 and alone and", "if counted == 1 and", "recover"),
    "a suspect stays a suspect, too": Edit("call('LTRIM', SUSPECTS, 0, -2)", "", "step"),
    "a retry is no attempt": Edit("id, attempt + 1,", "id, attempt,", "step"),
    "a retry comes at once": Edit("line_up(tonumber(ARGV[i + 2])", "line_up(0", "step"),
    "a retry has no priority": Edit("priority or 0, id, attempt", "0, id, attempt", "step"),
    "what is given back has no place": Edit("elseif place ~= '' then\n", "elseif false then\n", "recover"),
    "a requeued task has no priority": Edit("priority or 0, field.id", "0, field.id", "requeue"),
    "a dead letter has no priority": Edit("if place ~= '' then fields", "if false then fields"),
    "twins are one": Edit("while call('ZADD', key, 'NX', score, join(id, ...)) == 0 do", "while false do"),
    "a place has no number": Edit("return number - priority * STRIDE", "return -priority * STRIDE"),
    "any priority will do": Edit(" or math.abs(priority) > 100", ""),
    "a step promotes half": Edit("for _, frame in ipairs(ripe) do", "for i = 1, #ripe / 2 do local frame = ripe[i]"),
    "what could not be promoted is passed over": Edit("if promote() then want, reply[4] = 0, 1 end", "promote()"),
    "the deferred are woken too late": Edit("ipairs({SCHEDULED, DEFERRED})", "ipairs({SCHEDULED})"),
    "low ones go before what is due": Edit("behind = take_sorted(SCHEDULED, due, behind, #due)", "", "step"),
    "low ones go before the list": Edit("if list_done and aside", "if aside"),
    "purge leaves the deferred": Edit("UNLINK', SCHEDULED, PRIORITY, DEFERRED,", "UNLINK', SCHEDULED, PRIORITY,"),
    "the deferred do not count": Edit(" + call('ZCARD', DEFERRED) > 0", " > 0", "drained"),
    "a wrong type of the deferred is met too late": Edit("  call('ZCARD', DEFERRED) call('LLEN'", "  call('LLEN'"),
    "what is discarded keeps its weight": Edit("'dead_bytes', -weight(letter[2])", "'dead_bytes', 0", "discard"),
    "reconcile adopts nothing": Edit("if not known[held[i]] then", "if false then", "reconcile"),
    "reconcile misses what is gone": Edit("if call('HEXISTS', HELD, ARGV[i]) == 0 then", "if false then", "reconcile"),
    "a bell is a task": Edit("if payload ~= '' then", "if true then", "step"),
    "due tasks starve the list": Edit("math.max(room - ready, ", "math.max(room, ", "step"),
}


def run(client: redis.Redis, profile: settings, edits: Sequence[Edit] = ()) -> None:
    run_state_machine_as_test(lambda: Protocol(client, edits), settings=profile)  # type: ignore[arg-type]


@pytest.mark.timeout(86_400 if LONG else 300)
def test_the_scripts_do_what_the_reference_does(redis_client: redis.Redis) -> None:
    run(redis_client, BASE)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_a_script_is_noticed(redis_client: redis.Redis, fault: str) -> None:
    Protocol(redis_client, [FAULTS[fault]])  # the fault can be put in
    with pytest.raises((AssertionError, redis.ResponseError)):
        run(redis_client, settings(BASE, max_examples=3_000, phases=[Phase.generate]), [FAULTS[fault]])
