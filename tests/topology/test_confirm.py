"""What a producer asks of replicas, and tasks for queues all over a cluster."""

import asyncio
from collections.abc import Awaitable, Iterator
from typing import Any

import pytest

from multiworker import NotConfirmed
from multiworker.worker import commands
from multiworker.worker.client import Client
from multiworker.worker.client.line import MOST_WIRES
from tests.fix_cluster import Cluster
from tests.fix_topology import Sentinels

pytestmark = pytest.mark.xdist_group("topology")

SENDS = ["enqueue", "aenqueue", "enqueue_many", "aenqueue_many"]
NAMES = [f"queue{n}" for n in range(MOST_WIRES + 4)]


class Sender:
    """A client whose four ways to send are called alike."""

    def __init__(self, url: str) -> None:
        self.client = Client(url)
        self._runner = asyncio.Runner()

    def send(self, how: str, **options: object) -> list[str]:
        """Send one task."""
        tasks = [("t", None)] if how.endswith("many") else "t"
        sent = getattr(self.client, how)(tasks, **options)
        found: Any = self._runner.run(_wait(sent)) if how.startswith("a") else sent
        return found if isinstance(found, list) else [found]

    def close(self) -> None:
        self._runner.close()
        self.client.close()


async def _wait(sent: Awaitable[Any]) -> Any:
    return await sent


@pytest.fixture
def sender(sentinels: Sentinels) -> Iterator[Sender]:
    """Sends to the primary with one replica."""
    made = Sender(sentinels.url)
    yield made
    made.close()


@pytest.mark.parametrize("delay", [None, 60])
@pytest.mark.parametrize("how", SENDS)
def test_what_a_replica_confirms_it_has(sentinels: Sentinels, sender: Sender, how: str, delay: int | None) -> None:
    # given
    (replica,) = (node for node in sentinels.nodes if node is not sentinels.primary())
    # when
    assert len(sender.send(how, confirm=1, delay=delay)) == 1
    # then
    assert replica.ask("LLEN", "async_tasks") + replica.ask("ZCARD", "{async_tasks}:scheduled") == 1


@pytest.mark.parametrize("how", SENDS)
def test_too_few_replicas_are_an_error_that_names_the_task_which_is_sent(
    sentinels: Sentinels, sender: Sender, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given
    monkeypatch.setattr(commands, "CONFIRM_MS", 50)
    # when
    with pytest.raises(NotConfirmed, match="1 of 2 replicas confirmed it in time: it may run all the same") as caught:
        sender.send(how, confirm=2)
    # then
    (task_id,) = caught.value.ids
    assert (caught.value.confirmed, caught.value.wanted) == (1, 2)
    assert task_id in sentinels.primary().ask("RPOP", "async_tasks")


def test_a_bulk_stops_at_the_first_piece_that_is_not_confirmed(
    sentinels: Sentinels, sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "CONFIRM_MS", 50)
    with pytest.raises(NotConfirmed, match="of 2500 tasks, the 0 before them were confirmed, and those after them not"):
        sender.client.enqueue_many([("t", None)] * 2500, confirm=2)
    assert sentinels.primary().ask("LLEN", "async_tasks") == 1000


@pytest.mark.parametrize("how", SENDS)
def test_a_number_of_replicas_that_cannot_be_is_refused(sentinels: Sentinels, sender: Sender, how: str) -> None:
    with pytest.raises(ValueError, match="confirm"):
        sender.send(how, confirm=-1)
    assert sentinels.primary().ask("LLEN", "async_tasks") == 0


@pytest.mark.parametrize("how", SENDS)
def test_queues_of_all_nodes_are_sent_to_in_turn(cluster: Cluster, how: str) -> None:
    # given
    assert len({cluster.primary_of(name) for name in NAMES}) == 3
    sender = Sender(cluster.url)
    # when
    for name in NAMES * 2:
        sender.send(how, queue=name, confirm=1)
    # then
    assert {cluster.primary_of(name).ask("LLEN", name) for name in NAMES} == {2}
    sender.close()
