"""Workers of a Django project on a real PostgreSQL: how many connections there are, and whose."""

import re
import signal
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from multiworker.worker.errors import Exit
from tests.fix_postgres import Postgres
from tests.system.fix_site import Site
from tests.system.fix_system import until

KINDS = ("session", "asession")


class Noted(NamedTuple):
    """What a task has seen.

    Args:
        child: its process.
        session: the process of the server's that its connection led to.
        total: connections to the database that there were.
    """

    child: int
    session: int
    total: int


@pytest.fixture
def database(site: Site, postgres: Postgres) -> Iterator[str]:
    """The project's database, which connections leave after each task; its name."""
    name = postgres.make_database()
    use(site, postgres, name)
    yield name
    site.engine.close()


def use(site: Site, postgres: Postgres, name: str, **entry: Any) -> None:
    site.write(DATABASES={"default": postgres.settings(name, **entry)})


def noted(site: Site, count: int) -> list[Noted]:
    """Wait until so many tasks have noted what they saw."""

    def found() -> list[Noted]:
        text = (site.directory / "ledger.jsonl").read_text() if (site.directory / "ledger.jsonl").exists() else ""
        lines = re.findall(r'"session (\d+) of (\d+)", .*"pid": (\d+)', text)
        seen = [Noted(int(child), int(session), int(number)) for session, number, child in lines]
        return seen if len(seen) >= count else []

    return until(found, f"{count} tasks", site.engine.text)


@pytest.mark.parametrize("kind", KINDS)
def test_there_are_never_more_connections_than_tasks_that_run(
    site: Site, postgres: Postgres, database: str, kind: str
) -> None:
    # given four children with five tasks each
    site.start("--procs", "4", "--max-concurrent", "5", "--max-tasks", "200", procs=4)
    site.engine.push(kind, *range(200), seconds=0.01)
    # when 200 tasks have run, then there never were more than twenty connections, and none is left
    seen = noted(site, 200)
    assert max(one.total for one in seen) <= 20
    assert site.engine.finish() == Exit.OK
    assert site.engine.conserved()["done"] == 200
    until(lambda: not postgres.sessions(database), "the end of all connections")


@pytest.mark.parametrize("kind", KINDS)
def test_kept_connections_serve_many_tasks_and_are_as_few_as_the_tasks_at_once(
    site: Site, postgres: Postgres, database: str, kind: str
) -> None:
    use(site, postgres, database, CONN_MAX_AGE=600)
    site.start("--procs", "2", "--max-concurrent", "3", procs=2)
    site.engine.push(kind, *range(100), seconds=0.01)
    seen = noted(site, 100)
    assert len({one.session for one in seen}) <= 6
    # when the server ends them all, then no task notices
    for session, _ in postgres.sessions(database):
        postgres.end_session(session)
    site.engine.push(kind, *range(100, 150), seconds=0.01)
    later = noted(site, 150)[100:]
    assert not {one.session for one in later} & {one.session for one in seen}
    assert site.engine.stop() == Exit.OK
    book = site.engine.conserved()
    assert (book["done"], book["retried"]) == (150, 0)


@pytest.mark.parametrize("options", [[], ["--preload"]])
def test_no_connection_crosses_a_fork(site: Site, postgres: Postgres, database: str, options: list[str]) -> None:
    # given a project that connects as it is imported, and connections that would be kept
    use(site, postgres, database, CONN_MAX_AGE=600)
    site.write(CONNECT_ON_IMPORT=True)
    site.start("--procs", "3", "--max-concurrent", "1", *options, procs=3)
    # then, with and without a template, no connection is left of that
    assert postgres.sessions(database) == []
    # and children have connections of their own, also those of the next generation
    site.engine.push("session", *range(30), seconds=0.02)
    _check_own(noted(site, 30))
    site.engine.send(signal.SIGHUP)
    site.engine.until_ready(3, 2)
    site.engine.push("session", *range(30, 60), seconds=0.02)
    _check_own(noted(site, 60))
    assert site.engine.stop() == Exit.OK


def _check_own(seen: list[Noted]) -> None:
    owners = {one.session: one.child for one in seen}
    assert len({one.child for one in seen}) > 1
    assert all(owners[one.session] == one.child for one in seen)


def test_a_pool_is_each_childs_own_and_as_large_as_it_says(site: Site, postgres: Postgres, database: str) -> None:
    use(site, postgres, database, OPTIONS={"pool": {"min_size": 1, "max_size": 2}})
    site.write(CONNECT_ON_IMPORT=True)
    site.start("--procs", "2", "--max-concurrent", "6", "--preload", procs=2)
    site.engine.push("session", *range(60), seconds=0.01)
    seen = noted(site, 60)
    assert max(one.total for one in seen) <= 4
    _check_own(seen)
    assert site.engine.stop() == Exit.OK
    assert site.engine.conserved()["done"] == 60
