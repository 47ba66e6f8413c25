"""What the scripts that claim, settle and recover have answered, as values."""

from typing import Any, NamedTuple

from multiworker.worker.errors import Fenced, ProtocolError, Stale


class StepReply(NamedTuple):
    """What a step brought.

    Args:
        now: Redis TIME, in ms.
        next_due: when the next scheduled task is due, in ms of Redis TIME; -1 for none that is known.
        more: there may be more to claim right now.
        turn: this worker is to run empty for a suspect: claim nothing until it holds nothing.
        acknowledged: how many of the acknowledged ids were held.
        buried: how many elements went to the dead letters without being delivered.
        missing: settled ids that were not held.
        claims: delivery id and frame of each claimed task.
    """

    now: int
    next_due: int
    more: bool
    turn: bool
    acknowledged: int
    buried: int
    missing: list[str]
    claims: list[tuple[str, bytes]]


class Recovered(NamedTuple):
    """What a gone worker left behind: the whole ledger of its life.

    Args:
        given_back: tasks that run again.
        buried: tasks that had killed too many processes.
        claimed: tasks it ever claimed.
        done: of them, acknowledged.
        retried: of them, put off for another attempt.
        dead: of them, dead-lettered by itself.
    """

    given_back: int
    buried: int
    claimed: int
    done: int
    retried: int
    dead: int


def parse_step(reply: list[Any]) -> StepReply:
    """Read a step's reply.

    Raises:
        Fenced: the worker was declared dead.
        Stale: the number is not new.
        ProtocolError: neither of them, nor an answer.
    """
    _check(reply)
    _, now, next_due, more, turn, acknowledged, buried, missing = reply[:8]
    first = 8 + missing
    texts = [_text(delivery) for delivery in reply[8:first]] if missing else []
    return StepReply(now, next_due, more == 1, turn == 1, acknowledged, buried, texts, _pairs(reply[first:]))


def parse_reconcile(reply: list[object]) -> tuple[set[str], list[tuple[str, bytes]]]:
    """Read a reconcile's reply.

    Returns:
        The known ids that are not held any more; delivery id and frame of what is held and was not known.

    Raises:
        Fenced, Stale, ProtocolError: as parse_step.
    """
    _check(reply)
    first = 2 + int(reply[1])  # type: ignore[call-overload]
    return {_text(delivery) for delivery in reply[2:first]}, _pairs(reply[first:])


def parse_recover(reply: list[object]) -> Recovered | None:
    """Read a recover's reply.

    Returns:
        What was left behind, or None if there was nothing to recover or nothing proven.
    """
    if reply[0] != b"OK":
        return None
    return Recovered(*(int(number) for number in reply[1:7]))  # type: ignore[call-overload]


def _check(reply: list[object]) -> None:
    status = reply[0]
    if status == b"OK":
        return
    if status == b"FENCED":
        raise Fenced("others were told that this worker is dead, and have its tasks")
    if status == b"STALE":
        raise Stale("the request number was used before")
    raise ProtocolError(f"unknown reply {status!r}")


def _pairs(flat: list[object]) -> list[tuple[str, bytes]]:
    return [(delivery.decode(), frame) for delivery, frame in zip(flat[::2], flat[1::2], strict=True)]  # type: ignore[attr-defined, misc]


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
