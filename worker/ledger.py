"""One child's books."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from multiworker.worker.answers import Recovered
from multiworker.worker.scoreboard import Record
from multiworker.worker.words import Word

BUCKETS = 48
"""Latencies that are told apart; the last one is some thousand years, so that no run is too long for them."""


@dataclass(slots=True)
class Ledger:
    """Tasks by what became of them. claimed = done + retried + dead + given_back + what is held.

    Args:
        claimed: taken from Redis.
        done: acknowledged, and Redis confirmed it.
        retried: put off for another attempt, confirmed.
        dead: dead-lettered, confirmed.
        given_back: left to others.
    """

    claimed: int = 0
    done: int = 0
    retried: int = 0
    dead: int = 0
    given_back: int = 0

    @classmethod
    def of(cls, gone: Sequence[Recovered]) -> "Ledger":
        """Sum up what Redis knows of one gone worker in each of its queues."""
        return cls(
            claimed=sum(one.claimed for one in gone),
            done=sum(one.done for one in gone),
            retried=sum(one.retried for one in gone),
            dead=sum(one.dead + one.buried for one in gone),
            given_back=sum(one.given_back for one in gone),
        )

    def write(self, record: Record, held: int) -> None:
        """Show the ledger in the scoreboard.

        Args:
            record: the child's.
            held: deliveries that it holds.
        """
        words = record.words  # after each step: the record's own way would take twice as long
        words[Word.CLAIMED] = self.claimed
        words[Word.DONE] = self.done
        words[Word.RETRIED] = self.retried
        words[Word.DEAD] = self.dead
        words[Word.GIVEN_BACK] = self.given_back
        words[Word.IN_FLIGHT] = held


@dataclass(slots=True)
class Tally:
    """What ended in one queue since the last card told of it.

    Args:
        done: acknowledged, confirmed.
        retried: put off for another attempt, confirmed.
        dead: dead-lettered, confirmed.
        quick: runs that took less than 1 ms.
        latencies: the others by how long they took: the nth took less than 2^n ms, and the one before it did not.
    """

    done: int = 0
    retried: int = 0
    dead: int = 0
    quick: int = 0
    latencies: list[int] = field(default_factory=lambda: [0] * BUCKETS)

    def counts(self) -> list[tuple[str, int]]:
        """Return the fields of a minute that are not 0, as lua/card.lua has them."""
        buckets = [(f"l{number}", count) for number, count in enumerate(self.latencies)]
        named = [("done", self.done), ("retried", self.retried), ("dead", self.dead), ("l0", self.quick), *buckets]
        return [(name, count) for name, count in named if count]
