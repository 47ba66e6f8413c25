"""What the parent should do next, decided from its table alone. Pure: no signal, fork or clock in here."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple


class Stage(Enum):
    """Where a child is, as the parent sees it."""

    BOOT = "boot"
    READY = "ready"
    DRAIN = "drain"
    """Told to leave."""


@dataclass(frozen=True, slots=True)
class Seat:
    """A child in the table.

    Args:
        index: of its record in the scoreboard; it has no pid yet if a template is to fork it.
        slot: which of the wanted places it fills, from 1.
        stale: it belongs to another generation, or is due for recycling.
        stage: where it is.
    """

    index: int
    slot: int
    stale: bool
    stage: Stage


class Plan(NamedTuple):
    """What to do.

    Args:
        fork: slots to fill.
        drain: who is to be told to leave, by index.
    """

    fork: tuple[int, ...] = ()
    drain: tuple[int, ...] = ()


def reconcile(seats: Sequence[Seat], wanted: int, may_fork: Callable[[int], bool]) -> Plan:
    """Compare what is with what is wanted.

    One rule covers start, crash, reload, recycling and a changed number: fill empty places, at once where capacity is
    missing, else one at a time; then drain what is too much. Ready children never fall below the wanted number by this.

    Args:
        seats: every child that has not been reaped.
        wanted: how many current children there should be.
        may_fork: tells whether a slot's back-off and the fork budget allow it now.
    """
    staying = [seat for seat in seats if seat.stage is not Stage.DRAIN]
    ready = [seat for seat in staying if seat.stage is Stage.READY]
    current = [seat for seat in staying if not seat.stale]
    in_place = [seat for seat in current if seat.slot <= wanted]
    booting = sum(seat.stage is Stage.BOOT for seat in in_place)

    taken = {seat.slot for seat in in_place}
    room = max(1, wanted - len(ready)) - booting
    room = min(room, 2 * wanted + 1 - len(seats))  # hour-long tasks of old children must not pile up processes
    empty = [slot for slot in range(1, wanted + 1) if slot not in taken and may_fork(slot)]
    surplus = max(0, len(ready) - wanted)
    return Plan(tuple(empty[: max(0, room)]), tuple(_to_drain(staying, wanted, surplus)))


def _to_drain(staying: Sequence[Seat], wanted: int, surplus: int) -> list[int]:
    """Pick children that are too many: stale ones whose place is filled first; booting stale ones at once."""
    useless = [seat.index for seat in staying if seat.stage is Stage.BOOT and (seat.stale or seat.slot > wanted)]
    replaced = {seat.slot for seat in staying if not seat.stale and seat.stage is Stage.READY}

    def least_needed(seat: Seat) -> tuple[bool, bool, bool, int]:
        return (seat.slot <= wanted, not seat.stale, seat.slot not in replaced, -seat.slot)

    ready = sorted((seat for seat in staying if seat.stage is Stage.READY), key=least_needed)
    return useless + [seat.index for seat in ready[:surplus]]


def quota_grants(
    asked: int, settled: int, granted: dict[int, int], claimed: dict[int, int], portion: int
) -> dict[int, int]:
    """Hand out what is left of ``--max-tasks``.

    Every child may claim up to its quota; the sum of quotas and of what is settled never exceeds what was asked for, so
    the total is exact whatever dies. Portions shrink with what is left, so that the end is shared evenly.

    Args:
        asked: how many tasks in all.
        settled: tasks settled by children that are gone.
        granted: quota of each live child, less what it gave back.
        claimed: tasks each live child has claimed, less what it gave back.
        portion: smallest grant worth a wake-up.

    Returns:
        How much to add to the quota of which child.
    """
    left = asked - settled - sum(granted.values())
    grants: dict[int, int] = {}
    for child in sorted(granted, key=lambda one: granted[one] - claimed[one]):
        if left <= 0:
            break
        if granted[child] - claimed[child] < portion:
            grants[child] = min(left, max(portion, left // (2 * len(granted))))
            left -= grants[child]
    return grants
