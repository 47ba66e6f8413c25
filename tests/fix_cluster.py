"""A pytest plugin: a cluster of six; real servers on loopback."""

import contextlib
import math
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from redis.crc import key_slot

from tests.fix_topology import HOST, Node, free_ports, running
from tests.waiting import sync_until

SLOTS = 16384
MANUAL_FAILOVER = 6.0
"""Seconds after which a failover that was asked for has happened or was given up; CLUSTER_MF_TIMEOUT is 5 s."""


class Cluster:
    """Three primaries with a replica each.

    Args:
        directory: an existing one with a short path.
        options: of each node.
    """

    def __init__(self, directory: Path, *options: str) -> None:
        enabled = ("--cluster-enabled", "yes", "--cluster-node-timeout", "1500", *options)
        self.nodes = [Node(directory / str(port), port, *enabled) for port in free_ports(6)]
        self.url = f"redis+cluster://{','.join(f'{HOST}:{node.port}' for node in self.nodes[:3])}"

    def start(self) -> None:
        """Start all, and wait until the slots are served and the replicas follow."""
        for number, node in enumerate(self.nodes, 1):
            node.start()
            node.ask("CLUSTER", "SET-CONFIG-EPOCH", number)
        primaries, replicas = self.nodes[:3], self.nodes[3:]
        for number, node in enumerate(primaries):
            node.ask("CLUSTER", "ADDSLOTS", *range(SLOTS * number // 3, SLOTS * (number + 1) // 3))
        for node in self.nodes[1:]:
            node.ask("CLUSTER", "MEET", HOST, self.nodes[0].port)
        sync_until(lambda: all(len(self._table(node)) == 6 for node in self.nodes))
        for primary, replica in zip(primaries, replicas, strict=True):
            replica.ask("CLUSTER", "REPLICATE", primary.ask("CLUSTER", "MYID"))
        self.repair()

    def stop(self) -> None:
        """End all."""
        for node in self.nodes:
            node.kill()

    def repair(self) -> None:
        """Start what does not run, and wait until all agree that all is well."""
        for node in self.nodes:
            if not node.runs:
                node.start()
        sync_until(self._is_well)

    def _is_well(self) -> bool:
        for node in self.nodes:
            if "cluster_state:ok" not in node.ask("CLUSTER", "INFO"):
                return False
        tables = [self._table(node) for node in self.nodes]
        owners = [{row[0] for row in table if "master" in row[2]} for table in tables]
        healthy = all("fail" not in row[2] and "handshake" not in row[2] for table in tables for row in table)
        return healthy and all(owner == owners[0] for owner in owners) and len(self.primaries()) == 3

    def primaries(self) -> list[Node]:
        """Return the nodes that are primaries whose replica follows."""
        return [node for node in self.nodes if node.runs and node.has_replica()]

    def _table(self, node: Node) -> list[list[str]]:
        return [line.split() for line in node.ask("CLUSTER", "NODES").splitlines()]

    def primary_of(self, key: str) -> Node:
        """Return the node that serves a key, as soon as the first that runs sees one."""
        found: list[Node] = []

        def look() -> bool:
            found[:] = self._seen(next(node for node in self.nodes if node.runs), key)
            return bool(found)

        sync_until(look)
        return found[0]

    def _seen(self, asked: Node, key: str) -> list[Node]:
        """Return the node that serves a key in the eyes of another; for a moment of a failover there may be none."""
        slot = key_slot(key.encode())
        for first, last, (_, port, *_), *_ in asked.ask("CLUSTER", "SLOTS"):
            if first <= slot <= last:
                return [node for node in self.nodes if node.port == port]
        return []

    def replica_of(self, primary: Node) -> Node:
        """Return a primary's replica."""
        own = primary.ask("CLUSTER", "MYID")
        (port,) = (int(row[1].split("@")[0].split(":")[1]) for row in self._table(primary) if row[3] == own)
        return next(node for node in self.nodes if node.port == port)

    def fail_over(self, key: str) -> None:
        """Have the replica of a key's node take over in order, and wait until it has.

        A primary gives a failover five seconds; on a busy machine it has to be asked for again.
        """
        before = self.primary_of(key)
        replica, asked_at = self.replica_of(before), -math.inf

        def is_done() -> bool:
            nonlocal asked_at
            if time.monotonic() - asked_at > MANUAL_FAILOVER:
                asked_at = time.monotonic()
                with contextlib.suppress(redis.ResponseError):  # it is the primary by now
                    replica.ask("CLUSTER", "FAILOVER")
            return all(self._seen(node, key) not in ([], [before]) for node in self.nodes)

        sync_until(is_done)

    def lose_primary(self, key: str) -> None:
        """Kill the node of a key, and wait until its replica has taken over."""
        before = self.primary_of(key)
        before.kill()
        sync_until(lambda: self.primary_of(key) is not before)

    def begin_to_move(self, key: str) -> tuple[Node, Node]:
        """Open a key's slot for moving to another node; no key is moved yet.

        Returns:
            From where, to where.
        """
        slot, source = key_slot(key.encode()), self.primary_of(key)
        target = next(node for node in self.primaries() if node is not source)
        target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", source.ask("CLUSTER", "MYID"))
        source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", target.ask("CLUSTER", "MYID"))
        return source, target

    def end_to_move(self, key: str, source: Node, target: Node) -> None:
        """Move all keys of a slot, and give the slot to its new node."""
        slot, owner = key_slot(key.encode()), target.ask("CLUSTER", "MYID")
        while keys := source.ask("CLUSTER", "GETKEYSINSLOT", slot, 10):
            source.ask("MIGRATE", HOST, target.port, "", 0, 5000, "KEYS", *keys)
        for node in (target, source, *(node for node in self.primaries() if node not in {target, source})):
            node.ask("CLUSTER", "SETSLOT", slot, "NODE", owner)
        sync_until(lambda: all(self._seen(node, key) == [target] for node in self.nodes if node.runs))


@pytest.fixture(scope="session")
def _cluster() -> Iterator[Cluster]:
    directory = Path(tempfile.mkdtemp(prefix="mw-"))
    yield from running(Cluster(directory, "--cluster-require-full-coverage", "no"), directory)


@pytest.fixture
def cluster(_cluster: Cluster) -> Cluster:
    """A cluster, well and empty."""
    _cluster.repair()
    for node in _cluster.primaries():
        node.ask("FLUSHALL")
    return _cluster
