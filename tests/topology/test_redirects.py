"""Redirections of real servers: followed where they prove that nothing was done and there is nothing to reconcile."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from multiworker.worker import inquiries
from multiworker.worker.broker import Broker
from multiworker.worker.caller import Caller
from multiworker.worker.connections import FreshWire, Wire
from multiworker.worker.errors import RedisUnavailable
from multiworker.worker.keys import Keys
from multiworker.worker.settings import Settings
from tests.fix_cluster import Cluster
from tests.fix_topology import Sentinels
from tests.waiting import until

pytestmark = pytest.mark.xdist_group("topology")

KEYS = Keys("jobs")
PUSH = ("LPUSH", "jobs", "x")
LENGTH = ("LLEN", "jobs")
DEPTHS = inquiries.depths(KEYS)


class Asker:
    """A client of either kind, asked alike."""

    def __init__(self, url: str, kind: type[Caller] | type[Wire]) -> None:
        self._runner = asyncio.Runner()
        self.one: Any = self._runner.run(self._make(kind, url))

    async def _make(self, kind: Any, url: str) -> Any:
        return kind(url)

    def ask(self, *command: Any) -> Any:
        return self._run(self.one.ask(command))

    def ask_confirmed(self, *command: Any, replicas: int = 1) -> Any:
        return self._run(self.one.ask_confirmed(command, replicas))

    def _run(self, reply: Any) -> Any:
        return self._runner.run(_wait(reply)) if isinstance(reply, Awaitable) else reply

    def close(self) -> None:
        self._run(self.one.close())
        self._runner.close()


async def _wait(reply: Awaitable[Any]) -> Any:
    return await reply


@pytest.fixture(params=[Caller, FreshWire], ids=["blocking", "asyncio"])
def asker(request: pytest.FixtureRequest) -> Any:
    """Makes a client."""
    made: list[Asker] = []

    def make(url: str) -> Asker:
        made.append(Asker(url, request.param))
        return made[-1]

    yield make
    for one in made:
        one.close()


Make = Callable[[str], Asker]


def test_a_seed_that_is_down_is_passed_over(cluster: Cluster, asker: Make) -> None:
    one = asker(cluster.url.replace("redis+cluster://", "redis+cluster://127.0.0.1:1,"))
    assert one.ask(*PUSH) == 1


def test_a_script_is_taught_to_the_node_that_has_the_queue(cluster: Cluster, asker: Make) -> None:
    cluster.primary_of("jobs").ask("SCRIPT", "FLUSH")
    assert asker(cluster.url).ask(*DEPTHS)[0] == 0


def test_who_is_told_that_a_slot_has_moved_asks_there_once(cluster: Cluster, asker: Make) -> None:
    # given
    one = asker(cluster.url)
    one.ask(*PUSH)
    # when
    source, target = cluster.begin_to_move("jobs")
    cluster.end_to_move("jobs", source, target)
    # then
    assert one.ask(*PUSH) == 2
    assert target.ask("LLEN", "jobs") == 2


def test_while_a_slot_moves_a_key_that_is_gone_already_is_asked_for_at_its_new_node(
    cluster: Cluster, asker: Make
) -> None:
    # given
    one = asker(cluster.url)
    one.ask(*PUSH)
    source, target = cluster.begin_to_move("jobs")
    try:
        source.ask("MIGRATE", "127.0.0.1", target.port, "jobs", 0, 5000)
        # when
        lengths = [one.ask(*PUSH), one.ask(*PUSH), one.ask(*LENGTH)]
    finally:
        cluster.end_to_move("jobs", source, target)
    # then
    assert lengths == [2, 3, 3]
    assert one.ask(*LENGTH) == 3


def test_while_the_keys_of_a_script_lie_on_two_nodes_it_is_refused_and_then_runs(cluster: Cluster, asker: Make) -> None:
    one = asker(cluster.url)
    one.ask(*PUSH)
    source, target = cluster.begin_to_move("jobs")
    try:
        with pytest.raises(RedisUnavailable, match="TryAgain"):
            one.ask(*DEPTHS)
    finally:
        cluster.end_to_move("jobs", source, target)
    assert one.ask(*DEPTHS)[0] == 1


def test_after_a_failover_the_next_command_goes_to_the_new_primary(cluster: Cluster, asker: Make) -> None:
    one = asker(cluster.url)
    assert one.ask_confirmed(*PUSH) == 1
    cluster.fail_over("jobs")
    assert one.ask(*PUSH) == 2


def test_the_primary_that_the_sentinels_name_is_asked(sentinels: Sentinels, asker: Make) -> None:
    one = asker(sentinels.url)
    assert one.ask_confirmed(*PUSH) == 1
    assert sentinels.primary().ask("LLEN", "jobs") == 1
    assert one.ask_confirmed(*PUSH, replicas=2) == 1, "there is but one replica"


def test_a_primary_that_has_become_a_replica_is_left(private_sentinels: Sentinels, asker: Make) -> None:
    # given clients of the same primary
    pusher, caller = asker(private_sentinels.url), asker(private_sentinels.url)
    pusher.ask(*PUSH)
    caller.ask(*DEPTHS)
    before = private_sentinels.primary()
    # when
    private_sentinels.fail_over()
    before.ask("REPLICAOF", "127.0.0.1", private_sentinels.primary().port)
    # then a refused push is sent on, and so is a script
    assert pusher.ask(*PUSH) == 2
    assert caller.ask(*DEPTHS)[0] == 2
    assert private_sentinels.primary().ask("LLEN", "jobs") == 2


def test_a_primary_that_says_it_is_none_is_not_asked(private_sentinels: Sentinels, asker: Make) -> None:
    # given a server that the sentinels take for the primary
    named = private_sentinels.primary()
    (other,) = (node for node in private_sentinels.nodes if node is not named)
    named.ask("REPLICAOF", "127.0.0.1", other.port)
    # then even what a replica would answer is refused
    with pytest.raises(RedisUnavailable, match=f"{named.port} is not a primary, or not yet"):
        asker(private_sentinels.url).ask(*LENGTH)


def test_sentinels_that_do_not_know_the_service_are_named(sentinels: Sentinels, asker: Make) -> None:
    with pytest.raises(RedisUnavailable, match=r"127\.0\.0\.1:\d+: .*no primary that is called other"):
        asker(sentinels.url.replace("/main/", "/other/")).ask(*PUSH)


def test_a_step_is_never_sent_on_by_itself(cluster: Cluster) -> None:
    """What a promoted replica lacks must be reconciled; a wire of steps says so by an error, once."""

    async def main() -> list[Any]:
        wire = Wire(cluster.url)
        await wire.ask(PUSH)
        await asyncio.to_thread(cluster.fail_over, "jobs")
        with pytest.raises(RedisUnavailable):
            await wire.ask(PUSH)
        lengths = [await wire.ask(LENGTH), await wire.ask(PUSH)]
        await wire.close()
        return lengths

    assert asyncio.run(main()) == [1, 2]


def test_what_a_deposed_primary_was_told_is_found_out_by_a_reconcile(private_sentinels: Sentinels) -> None:
    """The acknowledgement is lost, so the task is held by a worker that does not know: nobody would ever run it."""

    async def main() -> None:
        # given a task that the replica knows to be held
        broker = Broker("jobs", Settings(redis=private_sentinels.url))
        old = private_sentinels.primary()
        (new,) = (node for node in private_sentinels.nodes if node is not old)
        assert await broker.register("w")
        old.ask("LPUSH", "jobs", "x")
        ((delivery, frame),) = (await broker.step(1, (), (), has_turn=False, others=0)).claims
        await until(lambda: new.ask("HEXISTS", KEYS.inflight("w"), delivery))
        # when it is acknowledged to a primary that is none any more
        await asyncio.to_thread(private_sentinels.fail_over)
        assert (await broker.step(0, [delivery], (), has_turn=False, others=0)).acknowledged == 1
        await broker.upkeep()
        with pytest.raises(RedisUnavailable, match="another primary"):
            await broker.step(0, (), (), has_turn=False, others=0)
        # then the worker gets it again
        assert await broker.reconcile(()) == (set(), [(delivery, frame)])
        await broker.close()

    asyncio.run(main())


def test_upkeep_leaves_a_primary_alone_that_is_still_one(sentinels: Sentinels) -> None:
    async def main() -> None:
        broker = Broker("jobs", Settings(redis=sentinels.url))
        assert await broker.register("w")
        await broker.upkeep()
        await broker.step(0, (), (), has_turn=False, others=0)
        await broker.close()

    asyncio.run(main())


def test_a_url_of_one_node_says_what_to_write_instead(cluster: Cluster) -> None:
    other = next(node for node in cluster.primaries() if node is not cluster.primary_of("jobs"))
    with pytest.raises(RedisUnavailable, match="redis\\+cluster"):
        Caller(f"redis://127.0.0.1:{other.port}").ask(PUSH)
