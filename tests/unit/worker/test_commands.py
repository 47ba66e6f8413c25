"""Commands as plain data."""

import pytest

from multiworker.worker import commands
from multiworker.worker.commands import Settle
from multiworker.worker.errors import ProtocolError, Reason
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
