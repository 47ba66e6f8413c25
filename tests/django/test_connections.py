"""Connections around tasks, in threads as a child has them, on a real PostgreSQL and on SQLite."""

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connections, transaction

from multiworker.django import connections as care
from multiworker.django.connections import careful
from tests.fix_postgres import Postgres
from tests.waiting import sync_until

ALIAS = "tried"


class Thread:
    """One of a child's threads, which runs one task after the other."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(1)

    def run(self, function: Callable[[Any], Any], data: Any = None) -> Any:
        """Run a task."""
        return self._executor.submit(careful(function), data).result()

    def do(self, function: Callable[[], Any]) -> Any:
        """Do something in the thread that is no task."""
        return self._executor.submit(function).result()

    def close(self) -> None:
        self.do(connections.close_all)
        self._executor.shutdown()


@pytest.fixture
def thread() -> Iterator[Thread]:
    made = Thread()
    yield made
    made.close()


@contextlib.contextmanager
def added(entry: dict[str, Any]) -> Iterator[None]:
    """The project has one more database."""
    connections.settings[ALIAS] = connections.settings["default"] | entry
    try:
        yield
    finally:
        for thread in care._Lane._free:
            thread.submit(_forget).result()
        _forget()
        del connections.settings[ALIAS]


def _forget() -> None:
    connections[ALIAS].close()
    del connections[ALIAS]


@pytest.fixture
def name(postgres: Postgres) -> str:
    """A database on the server, with a table."""
    database = postgres.make_database()
    with contextlib.ExitStack() as stack:
        stack.enter_context(added(postgres.settings(database)))
        with connections[ALIAS].cursor() as cursor:
            cursor.execute("CREATE TABLE note (text text)")
        connections[ALIAS].close()
    return database


@pytest.fixture
def kept(postgres: Postgres, name: str) -> Iterator[str]:
    """It is the project's, and connections are kept for a minute."""
    with added(postgres.settings(name, CONN_MAX_AGE=60)):
        yield name


@pytest.fixture
def short(postgres: Postgres, name: str) -> Iterator[str]:
    """It is the project's, and connections are not kept."""
    with added(postgres.settings(name, CONN_MAX_AGE=0)):
        yield name


def until_closed(postgres: Postgres, database: str) -> None:
    """Wait until the server has noticed that nobody is there any more."""
    sync_until(lambda: not postgres.sessions(database))


def ask(query: str) -> Any:
    with connections[ALIAS].cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchall() if cursor.description else None


def session(_: Any = None) -> int:
    """A task: the process that serves its connection."""
    ((pid,),) = ask("SELECT pg_backend_pid()")
    return int(pid)


def rows() -> int:
    ((count,),) = ask("SELECT count(*) FROM note")
    return int(count)


def test_without_an_age_a_connection_is_closed_after_each_task(postgres: Postgres, short: str, thread: Thread) -> None:
    pids = {thread.run(session) for _ in range(3)}
    assert len(pids) == 3
    until_closed(postgres, short)


def test_a_connection_that_may_be_kept_serves_the_next_task(postgres: Postgres, kept: str, thread: Thread) -> None:
    pids = {thread.run(session) for _ in range(3)}
    assert [pid for pid, _ in postgres.sessions(kept)] == list(pids)


def test_one_that_has_become_too_old_is_replaced(kept: str, thread: Thread) -> None:
    first = thread.run(session)
    thread.do(lambda: setattr(connections[ALIAS], "close_at", 0.0))
    assert thread.run(session) != first


def test_one_that_the_server_has_ended_is_replaced_before_the_task_sees_it(
    postgres: Postgres, kept: str, thread: Thread
) -> None:
    first = thread.run(session)
    postgres.end_session(first)
    second = thread.run(session)
    assert second != first
    assert thread.run(session) == second


def test_one_that_ends_during_a_task_fails_that_task_alone(postgres: Postgres, kept: str, thread: Thread) -> None:
    def broken(_: Any) -> None:
        postgres.end_session(session())
        session()

    with pytest.raises(Exception, match=r"terminat|closed"):
        thread.run(broken)
    assert thread.run(session)


def begin_and_fail(_: Any) -> None:
    transaction.atomic(using=ALIAS).__enter__()
    ask("INSERT INTO note VALUES ('x')")
    raise ZeroDivisionError


def commit_by_hand_and_fail(_: Any) -> None:
    transaction.set_autocommit(False, using=ALIAS)
    ask("INSERT INTO note VALUES ('x')")
    raise ZeroDivisionError


@pytest.mark.parametrize("task", [begin_and_fail, commit_by_hand_and_fail])
def test_a_transaction_that_a_task_leaves_open_is_rolled_back(
    postgres: Postgres, kept: str, thread: Thread, task: Callable[[Any], None], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING), pytest.raises(ZeroDivisionError):
        thread.run(task)
    sync_until(lambda: not [state for _, state in postgres.sessions(kept) if "transaction" in state])
    assert thread.run(lambda _: (rows(), connections[ALIAS].in_atomic_block)) == (0, False)
    assert [f"{ALIAS!r}" in record.getMessage() for record in caplog.records] == [True] * (task is begin_and_fail)


def test_a_pool_gets_its_connections_back(thread: Thread, postgres: Postgres, name: str) -> None:
    with added(postgres.settings(name, OPTIONS={"pool": {"min_size": 1, "max_size": 1}})):
        other = Thread()
        try:
            assert len({one.run(session) for one in (thread, other, thread)}) == 1
            assert connections[ALIAS].pool.get_stats()["pool_available"] == 1
        finally:
            other.close()
            connections[ALIAS].close_pool()


def test_nothing_of_it_is_open_after_hanging_up(postgres: Postgres, name: str) -> None:
    with added(postgres.settings(name, OPTIONS={"pool": True})):
        session()
        assert postgres.sessions(name)
        care.hang_up()
        until_closed(postgres, name)
        assert not [one.name for one in threading.enumerate() if "pool" in one.name]


def test_the_task_keeps_its_result_and_its_error_if_the_cleaning_fails(
    kept: str, thread: Thread, caplog: pytest.LogCaptureFixture
) -> None:
    def spoil(_: Any) -> str:
        session()

        def fail() -> None:
            raise RuntimeError("no cleaning today")

        connections[ALIAS].close_if_unusable_or_obsolete = fail
        return "done"

    assert thread.run(spoil) == "done"
    assert "no cleaning today" in caplog.text
    assert thread.run(session)


# Async tasks


def run_all(*tasks: Callable[[Any], Any]) -> list[Any]:
    """Run tasks at the same time on an event loop."""

    async def main() -> list[Any]:
        return await asyncio.gather(*(careful(task)(None) for task in tasks))

    return asyncio.run(main())


asession = sync_to_async(session)


def test_async_tasks_at_the_same_time_have_connections_and_transactions_of_their_own(
    postgres: Postgres, kept: str
) -> None:
    everybody = threading.Barrier(3, timeout=20)

    async def task(_: Any) -> tuple[int, int]:
        def work() -> int:
            with transaction.atomic(using=ALIAS):
                ask("INSERT INTO note VALUES ('x')")
                everybody.wait()
                seen = rows()
                everybody.wait()
            return seen

        return await sync_to_async(work)(), await asession()

    run_all(asession, asession)  # leave threads behind that could be taken twice
    found = run_all(task, task, task)
    assert [seen for seen, _ in found] == [1, 1, 1]
    assert sorted(pid for _, pid in found) == [pid for pid, _ in postgres.sessions(kept)]


def test_the_calls_of_one_async_task_share_a_connection_and_the_next_task_takes_it_over(kept: str) -> None:
    async def task(_: Any) -> set[int]:
        return {await asession() for _ in range(3)}

    first, second = run_all(task)[0], run_all(task)[0]
    assert len(first) == 1
    assert first == second


def test_an_async_task_begins_and_ends_with_connections_in_order(postgres: Postgres, kept: str) -> None:
    async def task(_: Any) -> int:
        return await asession()

    (first,) = run_all(task)
    postgres.end_session(first)
    (second,) = run_all(task)
    assert second != first

    async def leave_open(_: Any) -> None:
        await sync_to_async(begin_and_fail)(None)

    with pytest.raises(ZeroDivisionError):
        run_all(leave_open)

    async def count(_: Any) -> int:
        return await sync_to_async(rows)()

    assert run_all(count) == [0]


def test_without_an_age_async_tasks_close_theirs_too(postgres: Postgres, short: str) -> None:
    async def task(_: Any) -> int:
        return await asession()

    assert len(set(run_all(task, task) + run_all(task))) == 3
    for thread in care._Lane._free:
        thread.submit(int).result()  # the cleaning comes before this
    until_closed(postgres, short)


def test_an_async_task_without_a_database_costs_no_thread() -> None:
    async def task(_: Any) -> int:
        await asyncio.sleep(0)
        return threading.active_count()

    before = threading.active_count()
    assert run_all(task, task) == [before, before]


def test_a_plain_function_around_a_coroutine_is_looked_after_too(postgres: Postgres, short: str) -> None:
    async def inner() -> int:
        return await asession()

    async def main() -> Any:
        return await careful(lambda _: inner())(None)

    assert asyncio.run(main())
    for thread in care._Lane._free:
        thread.submit(int).result()
    until_closed(postgres, short)


# SQLite


def test_sqlite_is_looked_after_in_the_same_way(thread: Thread, tmp_path: Path) -> None:
    with added({"NAME": str(tmp_path / "tried.sqlite3"), "CONN_MAX_AGE": 0}):
        thread.run(lambda _: ask("CREATE TABLE note (text text)"))
        with pytest.raises(ZeroDivisionError):
            thread.run(begin_and_fail)
        assert thread.run(lambda _: (rows(), connections[ALIAS].in_atomic_block)) == (0, False)
        assert thread.do(lambda: connections[ALIAS].connection) is None
        thread.do(connections.close_all)
