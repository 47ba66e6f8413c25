"""One child's books."""

from collections.abc import Sequence
from dataclasses import dataclass

from multiworker.worker.commands import Recovered
from multiworker.worker.scoreboard import Record
from multiworker.worker.words import Word


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
        record[Word.CLAIMED] = self.claimed
        record[Word.DONE] = self.done
        record[Word.RETRIED] = self.retried
        record[Word.DEAD] = self.dead
        record[Word.GIVEN_BACK] = self.given_back
        record[Word.IN_FLIGHT] = held
