"""`multiworker start` through failovers: what replicas had confirmed runs, whatever becomes of a primary."""

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from multiworker.worker.client import Client
from multiworker.worker.errors import Exit
from tests.chaos.storm import OPTIONS, Fault, weather
from tests.fix_cluster import Cluster
from tests.fix_topology import Sentinels
from tests.system.fix_system import QUEUE, Engine, multiworker

pytestmark = pytest.mark.xdist_group("topology")


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Engine]]:
    """Starts engines by their URL; all their processes are gone after the test."""
    made: list[Engine] = []

    def run(url: str, *options: str) -> Engine:
        made.append(Engine(tmp_path, url))
        made[-1].start(*OPTIONS, *options)
        return made[-1]

    yield run
    for engine in made:
        engine.close()


Start = Callable[..., Engine]


def command(engine: Engine, *words: str) -> str:
    """What a command prints."""
    done = subprocess.run([*multiworker(), *words, "--redis", engine.url], capture_output=True, text=True, check=True)
    return done.stdout


def weathered(engine: Engine, *faults: Fault) -> None:
    """Push and work through faults: no confirmed task is lost, no child ends, and none floods the log."""
    children = engine.until_ready(2)
    outcome = weather(engine, list(faults))
    print(outcome)
    assert outcome.lost == [], f"{outcome}\n{engine.text()}"
    assert outcome.chatter <= 1, f"{outcome}\n{engine.text()}"
    assert engine.until_ready(2) == children, engine.text()
    assert engine.stop() == Exit.OK


def test_work_and_commands_go_by_the_sentinels(sentinels: Sentinels, start: Start) -> None:
    # given
    engine = start(sentinels.url)
    # when
    ids = Client(sentinels.url).enqueue_many([("quick", {"n": n}) for n in range(50)], confirm=1)
    command(engine, "enqueue", "quick", '{"n": 50}')
    # then
    engine.until_noted(51, "end")
    assert len(ids) == 50
    assert json.loads(command(engine, "queue", "ls", "--json"))[0]["waiting"] == 0
    assert engine.stop() == Exit.OK


def test_queues_of_one_child_may_lie_on_different_nodes(cluster: Cluster, start: Start) -> None:
    # given
    names = ["queue0", "queue1", "queue2", "queue3"]
    assert len({cluster.primary_of(name) for name in names}) > 1
    engine = start(cluster.url, *[word for name in names for word in ("--queue", name)])
    client = Client(cluster.url)
    # when
    for n, name in enumerate(names):
        client.enqueue("quick", {"n": n}, queue=name, confirm=1)
        client.enqueue("retried", {"n": 10 + n, "times": 1}, queue=name, delay=0.01)
        command(engine, "enqueue", "fail", json.dumps({"n": 20 + n, "times": 9}), "--queue", name)
    # then
    engine.until_noted(8, "end")
    assert engine.stop() == Exit.OK
    assert json.loads(command(engine, "queue", "ls", "--json", *[w for name in names for w in ("--queue", name)]))


def test_a_failover_by_hand_under_sentinels_loses_nothing_confirmed(private_sentinels: Sentinels, start: Start) -> None:
    weathered(start(private_sentinels.url), Fault(private_sentinels.fail_over, private_sentinels.restart))


def test_a_primary_that_is_killed_under_sentinels_loses_nothing_confirmed(
    private_sentinels: Sentinels, start: Start
) -> None:
    weathered(start(private_sentinels.url), Fault(private_sentinels.lose_primary, private_sentinels.restart))


def test_a_failover_by_hand_in_a_cluster_loses_nothing_confirmed(cluster: Cluster, start: Start) -> None:
    weathered(start(cluster.url), Fault(lambda: cluster.fail_over(QUEUE), cluster.repair))


def test_a_node_that_is_killed_in_a_cluster_loses_nothing_confirmed(cluster: Cluster, start: Start) -> None:
    weathered(start(cluster.url), Fault(lambda: cluster.lose_primary(QUEUE), cluster.repair))


def test_a_slot_that_moves_under_load_loses_nothing(cluster: Cluster, start: Start) -> None:
    weathered(start(cluster.url), Fault(lambda: cluster.end_to_move(QUEUE, *cluster.begin_to_move(QUEUE))))


def test_a_node_of_another_slot_does_not_matter(cluster: Cluster, start: Start) -> None:
    engine = start(cluster.url)
    other = next(name for name in "abcdef" if cluster.primary_of(name) is not cluster.primary_of(QUEUE))
    weathered(engine, Fault(lambda: cluster.lose_primary(other), cluster.repair))
