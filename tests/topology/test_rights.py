"""Users with the least rights that operations.md names, and sentinels that want a password of their own."""

import asyncio
from collections.abc import Iterator

import pytest

from multiworker.worker import inquiries
from multiworker.worker.broker import Broker
from multiworker.worker.client import Client
from multiworker.worker.errors import RedisUnavailable
from multiworker.worker.keys import Keys
from multiworker.worker.settings import Settings
from tests import acl
from tests.fix_cluster import Cluster
from tests.fix_topology import Node, Sentinels

pytestmark = pytest.mark.xdist_group("topology")

LOOKER = ("on", ">look", "-@all", "+sentinel|get-master-addr-by-name")


@pytest.fixture
def strict_cluster(cluster: Cluster) -> Iterator[str]:
    """The URL of a cluster for a user with the least rights."""
    _allow(cluster.nodes, "+cluster|slots", "+asking", "+wait")
    yield cluster.url.replace("://", "://least:pass@")
    _forbid(cluster.nodes)


@pytest.fixture
def strict_sentinels(sentinels: Sentinels) -> Iterator[str]:
    """The URL of sentinels and a primary, for users with the least rights."""
    _allow(sentinels.nodes, "+role", "+wait")
    for port in sentinels.ports:
        sentinels.ask(port, "ACL", "SETUSER", "looker", *LOOKER)
    query = "?sentinel_username=looker&sentinel_password=look"
    yield sentinels.url.replace("://", "://least:pass@") + query
    _forbid(sentinels.nodes)


def _allow(nodes: list[Node], *more: str) -> None:
    for node in nodes:
        node.ask("ACL", "SETUSER", "least", "on", ">pass", *acl.rules("worker", ["jobs"]).split(), *more)


def _forbid(nodes: list[Node]) -> None:
    for node in nodes:
        node.ask("ACL", "DELUSER", "least")


def _work(url: str) -> None:
    """Push a task, claim it and acknowledge it."""

    async def main() -> None:
        broker = Broker("jobs", Settings(redis=url))
        assert await broker.register("w")
        ((delivery, _),) = (await broker.step(1, (), (), has_turn=False, others=0, wait=0.05)).claims
        assert (await broker.step(0, [delivery], (), has_turn=False, others=0)).acknowledged == 1
        assert await broker.upkeep() == []
        await broker.close()

    client = Client(url)
    client.enqueue("t", queue="jobs", confirm=1)
    asyncio.run(main())
    client.close()


def test_the_least_rights_suffice_under_sentinels(strict_sentinels: str) -> None:
    _work(strict_sentinels)


def test_the_least_rights_suffice_in_a_cluster(strict_cluster: str, cluster: Cluster) -> None:
    _work(strict_cluster)
    source, target = cluster.begin_to_move("jobs")
    try:
        assert Client(strict_cluster).ask(("LPUSH", "jobs", "x")) == 1, "asked for at the new node"
    finally:
        cluster.end_to_move("jobs", source, target)


def test_who_may_not_log_in_is_told_by_whom(strict_sentinels: str, sentinels: Sentinels) -> None:
    asked = inquiries.depths(Keys("jobs"))
    for port in sentinels.ports:
        sentinels.ask(port, "ACL", "SETUSER", "looker", "off")
    with pytest.raises(RedisUnavailable, match=r"127\.0\.0\.1:\d+: AuthenticationError"):
        Client(strict_sentinels).ask(asked)
    for port in sentinels.ports:
        sentinels.ask(port, "ACL", "SETUSER", "looker", "on")
    with pytest.raises(RedisUnavailable, match="AuthenticationError") as caught:
        Client(strict_sentinels.replace(":pass@", ":s3cret@")).ask(asked)
    assert "s3cret" not in str(caught.value)
