"""How long to wait before the next try. Pure: the random number is handed in."""


def exponential(attempt: int, random: float, *, base: float, cap: float) -> float:
    """Exponential back-off with full jitter.

    Full jitter spreads retries best for the least work: M. Brooker, "Exponential Backoff And Jitter", AWS, 2015.

    Args:
        attempt: how often it has failed, from 1.
        random: a number in [0, 1).
        base: seconds; the ceiling after the first failure.
        cap: seconds; the highest ceiling.

    Returns:
        Seconds to wait, from 0 up to the ceiling of this attempt.
    """
    doublings = min(max(attempt, 1) - 1, 62)
    return float(random * min(cap, base * 2**doublings))
