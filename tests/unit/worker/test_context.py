"""What a handler can ask about its task."""

import asyncio

import pytest

from multiworker.worker.context import CURRENT, Current, current


class Described:
    """Something that runs."""

    def __init__(self, task: Current) -> None:
        self._task = task

    def describe(self) -> Current:
        return self._task


def test_outside_a_handler_there_is_no_current_task() -> None:
    with pytest.raises(LookupError, match="for handlers"):
        current()


def test_each_asyncio_task_sees_its_own_and_nothing_leaks_out() -> None:
    async def run(name: str) -> Current:
        CURRENT.set(Described(Current(name, "email", 1, "q", 3)))
        await asyncio.sleep(0)
        return current()

    async def main() -> list[Current]:
        return list(await asyncio.gather(run("a"), run("b")))

    assert [task.id for task in asyncio.run(main())] == ["a", "b"]
    with pytest.raises(LookupError):
        current()
