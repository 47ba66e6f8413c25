"""What the scripts have answered, as values."""

import pytest

from multiworker.worker import answers
from multiworker.worker.answers import Recovered, StepReply
from multiworker.worker.errors import Fenced, ProtocolError, Stale


def test_a_steps_reply_is_read() -> None:
    reply = [b"OK", 1000, -1, 1, 0, 4, 2, 1, b"5.3", b"7.1", b"w.7.1 1 0\nx", b"7.2", b"w.7.2 1 0\n"]
    assert answers.parse_step(list(reply)) == StepReply(
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
    assert answers.parse_reconcile([b"OK", 2, b"1.1", b"1.2", b"1.3", b"f"]) == ({"1.1", "1.2"}, [("1.3", b"f")])
    assert answers.parse_reconcile([b"OK", 0]) == (set(), [])


@pytest.mark.parametrize("parse", [answers.parse_step, answers.parse_reconcile])
def test_refusals_are_errors(parse: object) -> None:
    assert callable(parse)
    for word, error in ((b"FENCED", Fenced), (b"STALE", Stale), (b"WHAT", ProtocolError)):
        with pytest.raises(error):
            parse([word])


def test_what_a_gone_worker_left_behind_is_read() -> None:
    assert answers.parse_recover([b"OK", 1, 2, 3, 4, 5, 6]) == Recovered(1, 2, 3, 4, 5, 6)
    assert answers.parse_recover([b"GONE"]) is None
    assert answers.parse_recover([b"ALIVE"]) is None
