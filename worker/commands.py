"""The Redis commands of workers and producers, as plain data; the operator's are in worker/inquiries.py.

A command is a tuple, ready for the wire. A script is sent as EVALSHA; `script_of` finds its source when Redis answers
NOSCRIPT, which it does before anything is done.
"""

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from hiredis import pack_command

from multiworker.worker.errors import ProtocolError
from multiworker.worker.keys import Keys
from multiworker.worker.scripts import SCRIPTS, script

Command = tuple[str | bytes | int, ...]
Record = tuple[str, str, str, str, str | bytes | int, str, str]
"""What lua/record.lua takes of one task."""

REPLY_BYTES = 8 * 1024 * 1024
"""Bytes of payload that one claim may bring, so that a child's memory is bounded; one task always fits."""
OUTAGE_MS, SHORTEST_OUTAGE_MS = 15_000, 300
"""A last upkeep older than this means that Redis was away, and that expired leases prove nothing: a third of the lease,
within these bounds. It must be less than the lease, or an outage could end all leases without being noticed."""
CONFIRM_MS = 1000
"""How long replicas may take to confirm a push; well below the time in which Redis has to answer."""
CARD_MS = 15_000
"""How long a card stays that nobody renews."""
MINUTE_MS = 3_900_000
"""How long the counts of a minute stay: an hour, and some more, so that the last hour is whole."""
TURN_MS = 30_000
"""How long one worker takes nothing new, to run empty for a suspect."""


class Settle(NamedTuple):
    """How a delivery that was not simply done ends.

    Args:
        delivery: its delivery id.
        kind: ``retry`` or ``dead``.
        value: ms until the next attempt; or the dead-letter reason.
        detail: for the dead letter; of an oversized payload its SHA-256.
    """

    delivery: str
    kind: Literal["retry", "dead"]
    value: int | str
    detail: str


class Expected(NamedTuple):
    """A task that is about to be sent and wants a result.

    Args:
        id: the task's id.
        due_ms: ms until it is due.
        ttl_ms: ms to keep the result once it has ended.
        cap: how many ended results the queue keeps.
        path: of the function that runs it.
        backend: the alias of the backend that sends it.
        queue: that backend's name for the queue.
        priority: of the task.
        run_after: when it is due, in ISO 8601; empty for at once.
        data: its arguments, as JSON.
    """

    id: str
    due_ms: int
    ttl_ms: int
    cap: int
    path: str
    backend: str
    queue: str
    priority: int
    run_after: str
    data: bytes


def evalsha(name: str, keys: Sequence[str], *arguments: str | bytes | int) -> Command:
    """Build a script call."""
    return ("EVALSHA", script(name).sha, len(keys), *keys, *arguments)


def packed_of(commands: Iterable[Command]) -> bytes:
    """Write commands for the wire; redis-py's own packers take two to ten times as long as hiredis's."""
    return b"".join([pack_command(command) for command in commands])  # type: ignore[arg-type] # its stub: a tuple of one


def key_of(command: Command) -> str:
    """Return the first key of a command, which says where all of its keys lie."""
    return str(command[3 if command[0] == "EVALSHA" else 1])


def script_load_of(command: Command) -> Command:
    """Build the command that teaches Redis the script which another command calls.

    Raises:
        ProtocolError: the command calls no script of ours.
    """
    for name in SCRIPTS:
        if script(name).sha == command[1]:
            return ("SCRIPT", "LOAD", script(name).text)
    raise ProtocolError("an unknown script was called")


def register(keys: Keys, worker: str, lease_ms: int) -> Command:
    """See lua/register.lua."""
    return evalsha("register", keys.of_worker(worker), worker, lease_ms)


def step(
    keys: Keys,
    worker: str,
    no: int,
    lease_ms: int,
    want: int,
    acks: Sequence[str],
    settles: Iterable[Settle],
    *,
    largest: int,
    has_turn: bool,
    others: int,
) -> Command:
    """See lua/step.lua."""
    head = (worker, no, lease_ms, want, REPLY_BYTES, largest, TURN_MS, int(has_turn), others, len(acks))
    tail = [argument for settle in settles for argument in settle]
    return evalsha("step", keys.of_worker(worker), *head, *acks, *tail)


def reconcile(keys: Keys, worker: str, no: int, lease_ms: int, known: Iterable[str]) -> Command:
    """See lua/reconcile.lua."""
    return evalsha("reconcile", keys.of_worker(worker), worker, no, lease_ms, *known)


def recover(
    keys: Keys, worker: str, why: Literal["dead", "left", "expired"], detail: str, outage_ms: int = OUTAGE_MS
) -> Command:
    """See lua/recover.lua."""
    return evalsha("recover", keys.of_worker(worker), worker, why, detail, outage_ms)


def upkeep(keys: Keys, lease_ms: int) -> Command:
    """See lua/upkeep.lua."""
    return evalsha("upkeep", keys.of_worker(""), outage_of(lease_ms), lease_ms)


def outage_of(lease_ms: int) -> int:
    """Return the age in ms of the last upkeep from which on leases so long prove nothing."""
    return max(SHORTEST_OUTAGE_MS, min(OUTAGE_MS, lease_ms // 3))


def drained(keys: Keys) -> Command:
    """See lua/drained.lua."""
    return evalsha("drained", keys.of_worker(""))


def wait(keys: Keys, seconds: float) -> Command:
    """Build the blocking wait: the queue's next element becomes the head of the hand-off, which is everybody's."""
    return ("BLMOVE", keys.queue, keys.handoff, "RIGHT", "LEFT", f"{seconds:.3f}")


def piece(keys: Keys, task_id: str, start: int, size: int) -> Command:
    """Build the read of some bytes of an oversized payload."""
    return ("GETRANGE", keys.oversized(task_id), start, start + size - 1)


def push(keys: Keys, payloads: Iterable[bytes]) -> Command:
    """Build the push of tasks; they are taken in this order."""
    return ("LPUSH", keys.queue, *payloads)


def confirm(replicas: int) -> Command:
    """Build the wait for replicas to have what this connection has written before."""
    return ("WAIT", replicas, CONFIRM_MS)


def schedule(keys: Keys, delay_ms: int, priority: int, tasks: Iterable[tuple[str, bytes]]) -> Command:
    """See lua/schedule.lua."""
    pairs = [argument for task in tasks for argument in task]
    return evalsha("schedule", keys.of_worker(""), delay_ms, priority, *pairs)


def expect(keys: Keys, results: Iterable[Expected]) -> Command:
    """See lua/expect.lua."""
    return evalsha("expect", keys.of_worker(""), *[argument for result in results for argument in result])


def record(keys: Keys, worker: str, records: Iterable[Record]) -> Command:
    """See lua/record.lua."""
    return evalsha("record", keys.of_worker(""), worker, *[argument for record in records for argument in record])


def result(keys: Keys, task_id: str) -> Command:
    """Build the read of a result."""
    return ("HGETALL", keys.result(task_id))


def point(task_id: str, queue: str, ttl_ms: int) -> Command:
    """Build the note of where a result lies, for readers that know only its id."""
    return ("SET", f"multiworker:result:{task_id}", queue, "PX", ttl_ms)


def pointed(task_id: str) -> Command:
    """Build the read of that note."""
    return ("GET", f"multiworker:result:{task_id}")


def card(keys: Keys, worker: str, text: bytes, counts: Iterable[tuple[str, int]]) -> Command:
    """See lua/card.lua."""
    pairs = [argument for count in counts for argument in count]
    return evalsha("card", keys.of_worker(""), worker, text, CARD_MS if text else 0, MINUTE_MS, *pairs)
