"""Which worlds are looked at: those of every test run, the wider ones of `make model`, and one for each flaw."""

from collections import Counter
from collections.abc import Iterator
from itertools import combinations_with_replacement

from tests.model.checker import NOT_ONE_PLACE, STRANDED
from tests.model.duties import FENCED
from tests.model.flaws import Flaw
from tests.model.server import LATE_SETTLE
from tests.model.worker import NOT_HELD, RUN_TWICE, TOO_MANY
from tests.model.world import Budget, World

FAULTS = [name for name in Budget._fields if name != "retries"]
PROPERTIES = (NOT_ONE_PLACE, STRANDED, FENCED, LATE_SETTLE, NOT_HELD, RUN_TWICE, TOO_MANY)


def budgets(number: int, retries: int) -> Iterator[Budget]:
    """Yield every choice of so many faults; a kind may come more than once."""
    for kinds in combinations_with_replacement(FAULTS, number):
        yield Budget(retries=retries, **Counter(kinds))


QUICK = [
    *(World(budget) for budget in budgets(2, retries=0)),
    *(World(budget) for budget in budgets(1, retries=1)),
    *(World(budget, own_waits=True) for budget in budgets(1, retries=0)),
    *(World(budget, permits=2) for budget in budgets(1, retries=1)),
    *(World(budget, registered=False) for budget in budgets(1, retries=0)),
]
"""Seconds for all of it."""

WIDE = [
    *(World(budget) for budget in budgets(2, retries=1)),
    *(World(budget) for budget in budgets(3, retries=0)),
    *(World(budget, own_waits=True) for budget in budgets(2, retries=0)),
    *(World(budget, permits=2) for budget in budgets(2, retries=0)),
    *(World(budget, registered=False) for budget in budgets(2, retries=0)),
    *(World(budget, own_waits=True) for budget in budgets(1, retries=2)),
    *(World(budget, items=3, permits=2) for budget in budgets(1, retries=1)),
    *(World(budget, workers=3) for budget in budgets(1, retries=1)),
]
"""Many minutes."""

FLAWED = {
    Flaw.WAIT_ERROR_RECONCILES: (World(Budget(lost_requests=1), own_waits=True), RUN_TWICE),
    Flaw.SERVER_CHOOSES_NUMBER: (World(Budget(lost_replies=2)), STRANDED),
    Flaw.NO_NUMBER: (World(Budget(late=1)), STRANDED),
    Flaw.ITEM_NAMES_DELIVERY: (World(Budget(retries=1, lost_replies=1)), LATE_SETTLE),
    Flaw.FORGETS_AT_SEND: (World(Budget(lost_requests=1)), RUN_TWICE),
    Flaw.OWN_HANDOFF: (World(Budget(kills=1)), STRANDED),
    Flaw.NO_GRACE: (World(Budget(outages=1)), FENCED),
    Flaw.TRUSTS_OLD_TICK: (World(Budget(outages=1)), FENCED),
    Flaw.CALLER_DECIDES: (World(Budget(expiries=1)), FENCED),
    Flaw.REGISTERS_AGAIN: (World(Budget(late=2), registered=False), STRANDED),
}
"""Flaw -> a world in which it shows, and what it breaks there."""
