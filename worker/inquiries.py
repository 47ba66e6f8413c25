"""The commands of the operator's view: what lies in a queue, and what people do about it. See worker/commands.py."""

from collections.abc import Iterable, Sequence

from multiworker.worker.commands import Command, evalsha
from multiworker.worker.keys import Keys


def depths(keys: Keys) -> Command:
    """See lua/depths.lua."""
    return evalsha("depths", keys.of_worker(""))


def peek(keys: Keys, count: int, cut: int) -> Command:
    """See lua/peek.lua."""
    return evalsha("peek", keys.of_worker(""), count, cut)


def purge(keys: Keys, *, everything: bool) -> Command:
    """See lua/purge.lua."""
    return evalsha("purge", keys.of_worker(""), int(everything))


def letters(keys: Keys, first: str, last: str, *, newest: bool, count: int, size: int, cut: int) -> Command:
    """See lua/letters.lua."""
    return evalsha("letters", keys.of_worker(""), first, last, int(newest), count, size, cut)


def requeue(keys: Keys, entries: Iterable[str]) -> Command:
    """See lua/requeue.lua."""
    return evalsha("requeue", keys.of_worker(""), *entries)


def discard(keys: Keys, entries: Iterable[str]) -> Command:
    """See lua/discard.lua."""
    return evalsha("discard", keys.of_worker(""), *entries)


def cards(keys: Keys, most: int) -> Command:
    """See lua/cards.lua."""
    return evalsha("cards", keys.of_worker(""), most)


def pulse(keys: Keys, minutes: int, cut: int) -> Command:
    """See lua/pulse.lua."""
    return evalsha("pulse", keys.of_worker(""), minutes, cut)


def search(
    keys: Keys, span: tuple[str, str, bool], limits: tuple[int, int, int, int], wanted: Sequence[str]
) -> Command:
    """See lua/search.lua.

    Args:
        keys: of the queue.
        span: where to begin, where to end, newest first.
        limits: letters to find, letters to look at, bytes to look at, bytes to show of each.
        wanted: reason, text in the payload, id.
    """
    first, last, newest = span
    count, most, size, cut = limits
    return evalsha("search", keys.of_worker(""), first, last, int(newest), count, most, size, *wanted, cut)


def delayed(keys: Keys, at: tuple[int, int], count: int, cut: int) -> Command:
    """See lua/delayed.lua."""
    return evalsha("delayed", keys.of_worker(""), *at, count, cut)


def find(keys: Keys, task_id: str, text: str, limits: tuple[int, int, int, int]) -> Command:
    """See lua/find.lua.

    Args:
        keys: of the queue.
        task_id: the task's id.
        text: the same in JSON.
        limits: elements to look at in each place, bytes to look at, tasks to show, bytes to show of each.
    """
    return evalsha("find", keys.of_worker(""), task_id, text, *limits)
