"""Commands as plain data, and what their replies mean."""

import pytest

from multiworker.worker import commands
from multiworker.worker.commands import Recovered, Settle, StepReply
from multiworker.worker.errors import Fenced, ProtocolError, Reason, Stale
from multiworker.worker.keys import Keys
from multiworker.worker.scripts import SCRIPTS, script

KEYS = Keys("q")


def test_a_step_says_everything_in_the_order_of_its_script() -> None:
    command = commands.step(
        KEYS,
        "w",
        7,
        45_000,
        20,
        ["5.1", "5.2"],
        [Settle("5.3", "retry", 1500, ""), Settle("5.4", "dead", Reason.REJECTED, "why")],
        largest=1000,
        has_turn=True,
        others=3,
    )
    head, rest = command[:13], command[13:]
    assert head == ("EVALSHA", script("step").sha, 10, *KEYS.of_worker("w"))
    limits = (commands.REPLY_BYTES, 1000, commands.TURN_MS, 1, 3)
    assert rest[:10] == ("w", 7, 45_000, 20, *limits, 2)
    assert rest[10:] == ("5.1", "5.2", "5.3", "retry", 1500, "", "5.4", "dead", "rejected", "why")


def test_every_script_call_names_a_script_that_redis_can_be_taught() -> None:
    built = {
        "register": commands.register(KEYS, "w", 1),
        "step": commands.step(KEYS, "w", 1, 1, 1, [], [], largest=1, has_turn=False, others=0),
        "reconcile": commands.reconcile(KEYS, "w", 1, 1, ["1.1"]),
        "recover": commands.recover(KEYS, "w", "dead", "signal 9"),
        "upkeep": commands.upkeep(KEYS, 1),
        "drained": commands.drained(KEYS),
        "schedule": commands.schedule(KEYS, 5, 0, [("id", b"payload")]),
    }
    assert set(built) <= set(SCRIPTS)
    for name, command in built.items():
        assert command[:3] == ("EVALSHA", script(name).sha, 10)
        assert commands.script_load_of(command) == ("SCRIPT", "LOAD", script(name).text)


def test_a_call_of_somebody_elses_script_is_not_answered() -> None:
    with pytest.raises(ProtocolError):
        commands.script_load_of(("EVALSHA", "0" * 40, 0))


def test_plain_commands() -> None:
    assert commands.wait(KEYS, 1) == ("BLMOVE", "q", "{q}:handoff", "RIGHT", "LEFT", "1.000")
    assert commands.push(KEYS, [b"a", b"b"]) == ("LPUSH", "q", b"a", b"b")
    assert commands.piece(KEYS, "w.1.1", 10, 5) == ("GETRANGE", "{q}:oversized:w.1.1", 10, 14)


def test_the_shortest_wait_is_never_read_as_for_ever() -> None:
    assert float(str(commands.wait(KEYS, 0.01)[-1])) > 0


def test_a_steps_reply_is_read() -> None:
    reply = [b"OK", 1000, -1, 1, 0, 4, 2, 1, b"5.3", b"7.1", b"w.7.1 1 0\nx", b"7.2", b"w.7.2 1 0\n"]
    assert commands.parse_step(list(reply)) == StepReply(
        now=1000,
        next_due=-1,
        more=True,
        turn=False,
        acknowledged=4,
        buried=2,
        missing=["5.3"],
        claims=[("7.1", b"w.7.1 1 0\nx"), ("7.2", b"w.7.2 1 0\n")],
    )


def test_a_reconciles_reply_is_read() -> None:
    assert commands.parse_reconcile([b"OK", 2, b"1.1", b"1.2", b"1.3", b"f"]) == ({"1.1", "1.2"}, [("1.3", b"f")])
    assert commands.parse_reconcile([b"OK", 0]) == (set(), [])


@pytest.mark.parametrize("parse", [commands.parse_step, commands.parse_reconcile])
def test_refusals_are_errors(parse: object) -> None:
    assert callable(parse)
    for word, error in ((b"FENCED", Fenced), (b"STALE", Stale), (b"WHAT", ProtocolError)):
        with pytest.raises(error):
            parse([word])


def test_what_a_gone_worker_left_behind_is_read() -> None:
    assert commands.parse_recover([b"OK", 1, 2, 3, 4, 5, 6]) == Recovered(1, 2, 3, 4, 5, 6)
    assert commands.parse_recover([b"GONE"]) is None
    assert commands.parse_recover([b"ALIVE"]) is None
