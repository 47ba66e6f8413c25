"""The ledger over all children, gone and present: what it says, and what of --max-tasks is still to be given out."""

from collections.abc import Sequence

from multiworker.supervisor.plan import quota_grants
from multiworker.worker.scoreboard import Record, Scoreboard
from multiworker.worker.words import State, Total, Word

_ENDS = ("done", "retried", "dead", "given_back", "in_flight")


def lost(board: Scoreboard) -> list[Record]:
    """Return the records of dead children whose tasks are still to be given back."""
    return [record for record in board.present if record[Word.STATE] == State.LOST]


def retire_settled(board: Scoreboard, alive: Sequence[Record]) -> None:
    """Free the records of children that are gone and whose tasks are accounted for.

    Args:
        board: the scoreboard.
        alive: records of processes that have not been reaped.
    """
    for record in board.present:
        if record[Word.STATE] == State.SETTLED and record not in alive:
            board.retire(record)


def settled(board: Scoreboard) -> int:
    """Return how many tasks have come to an end, of all children."""
    ledger = board.ledger()
    return ledger["done"] + ledger["retried"] + ledger["dead"]


def grant(board: Scoreboard, asked: int, portion: int) -> list[Record]:
    """Hand out what is left of ``--max-tasks``.

    Args:
        board: the scoreboard.
        asked: how many tasks in all.
        portion: smallest grant worth a wake-up.

    Returns:
        The records whose quota has grown.
    """
    totals = board.totals
    gone = totals[Total.DONE] + totals[Total.RETRIED] + totals[Total.DEAD]
    present = dict(enumerate(board.present))
    granted = {n: record[Word.QUOTA] - record[Word.GIVEN_BACK] for n, record in present.items()}
    claimed = {n: record[Word.CLAIMED] - record[Word.GIVEN_BACK] for n, record in present.items()}
    grants = quota_grants(asked, gone, granted, claimed, portion)
    for n, more in grants.items():
        present[n][Word.QUOTA] += more
    return [present[n] for n in grants]


def ledger_line(board: Scoreboard) -> str:
    """Return the line of conservation: what was claimed is accounted for to the last task."""
    ledger = board.ledger()
    rest = ledger["claimed"] - sum(ledger[end] for end in _ENDS)
    ends = " + ".join(f"{end.replace('_', ' ')} {ledger[end]}" for end in _ENDS)
    verdict = "adds up" if rest == 0 else f"does NOT add up, by {rest}"
    return f"claimed {ledger['claimed']} = {ends}: {verdict}"
