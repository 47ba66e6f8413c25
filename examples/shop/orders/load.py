"""The sample load: what its tasks take, and in which order they are sent."""

SECONDS = {"fast_task": 0.5, "medium_task": 1.0, "slow_task": 2.0}
"""Task type -> seconds it takes."""
LOAD = ("fast_task",) * 3 + ("medium_task",) * 2 + ("slow_task",) * 2
"""The types of its tasks, in the order in which they are pushed, and so taken.

One after the other they take 7.5 s. Seven at a time, 2 s: as long as the longest. Five at a time, 2.5 s: three fast and
two medium ones begin; after 0.5 s the fast ones end and the slow ones begin, which end at 2.5 s. The other way round it
would be 2 s, for then the slow ones would not wait.
"""


def ideal(permits: int) -> float:
    """Return how long the load takes if starting a task takes no time.

    Args:
        permits: tasks that run at once.

    Returns:
        Seconds.
    """
    free = [0.0] * permits
    for kind in LOAD:
        free.sort()
        free[0] += SECONDS[kind]
    return max(free)
