"""What is measured in which order, of whom, and how much."""

import re
from argparse import ArgumentTypeError
from collections import Counter
from itertools import islice
from types import SimpleNamespace
from typing import Any

import pytest

from bench import limits, loads, ours, push
from bench.contenders import CONTENDERS, US, Contender, commands
from bench.environments import OWN, requirements
from bench.limits import LIMITS
from bench.run import COMMON, TURNS, Step, _several, options, plan, work_of
from bench.stand import Note
from bench.work import BLOB, DATA

PINNED = re.compile(r"([a-z-]+)(?:\[[a-z,]+\])?==[\d.]+(?:  # .+)?")


def named(name: str) -> Contender:
    return next(contender for contender in CONTENDERS if contender.name == name)


def test_all_take_turns_and_each_round_begins_with_another_one() -> None:
    steps = plan(["blob"], ["a", "b", "c"], 3)

    assert [step.who for step in steps] == ["a", "b", "c", "b", "c", "a", "c", "a", "b"]


def test_a_load_whose_figures_depend_on_the_moment_has_more_and_shorter_turns() -> None:
    steps = plan(["latency"], ["a", "b"], 2)

    assert Counter((step.round, step.who) for step in steps if step.who in "ab") == dict.fromkeys(
        ((1, "a"), (1, "b"), (2, "a"), (2, "b")), TURNS["latency"]
    )


def test_limits_are_measured_beside_the_contenders_in_each_round() -> None:
    steps = plan(["noop"], [US, "arq"], 2)

    assert Counter(step.who for step in steps) == dict.fromkeys((US, "arq", *LIMITS["noop"]), 2)


def test_a_load_of_its_own_is_for_multiworker_alone() -> None:
    assert plan(["scaling", "backlog"], [US, "arq"], 2) == [
        Step(1, "scaling", US),
        Step(1, "backlog", US),
        Step(2, "scaling", US),
    ]
    assert plan(["scaling"], ["arq"], 1) == []


def test_every_step_has_work() -> None:
    asked = options([])

    assert all(callable(work_of(step)) for step in plan(asked.loads, asked.contenders, 1))


def test_what_is_unknown_is_refused() -> None:
    with pytest.raises(ArgumentTypeError, match="warp: choose from noop, wide"):
        _several(dict(COMMON))("noop,warp")


@pytest.mark.parametrize("contender", CONTENDERS, ids=lambda contender: contender.name)
def test_every_contender_runs_the_processes_asked_for(contender: Contender) -> None:
    lines = commands(contender, 2, 20)

    assert len(lines) == (2 if contender.copies else 1)
    assert contender.copies or "2" in lines[0]
    assert not any("{" in part for line in lines for part in line)


@pytest.mark.parametrize("contender", [one for one in CONTENDERS if one.environment != OWN], ids=lambda one: one.name)
def test_every_peer_is_pinned(contender: Contender) -> None:
    lines = requirements(contender.environment).read_text().splitlines()
    pins = [PINNED.fullmatch(line) for line in lines if not line.startswith("#")]

    assert None not in pins
    assert contender.package in [pin[1] for pin in pins if pin]


def test_a_load_is_as_large_as_the_pace_of_its_contender_and_the_load_allow() -> None:
    sizes = loads.Sizes(seconds=2.0)

    assert loads.count_of(named("arq"), sizes) == 2 * named("arq").pace
    assert loads.count_of(named(US), sizes, 4_000) == 8_000
    assert loads.count_of(named("RQ"), sizes, 10) == loads.FEWEST


@pytest.mark.parametrize(("share", "value"), [(0.5, 50), (0.99, 99), (1.0, 100)])
def test_a_percentile_is_not_exceeded_by_this_share_of_the_values(share: float, value: float) -> None:
    assert loads.percentile([float(number) for number in range(1, 101)], share) == value


def test_a_task_has_restarted_when_another_process_has_begun_it_after_the_kill() -> None:
    notes = [
        Note(pid=1, data=7, at=10),  # before the kill
        Note(pid=1, data=8, at=21),  # by the killed one, just before the kernel had it
        Note(pid=2, data=9, at=30),  # not one of its tasks
        Note(pid=2, data=7, at=40),
        Note(pid=2, data=7, at=50),  # once more
    ]

    assert loads.first_again(notes, {7, 8}, victim=1, killed=20) == {7: 40}


def test_the_long_queue_takes_at_most_half_of_the_memory() -> None:
    assert ours.affordable(10_000_000, 2**40) == 10_000_000
    assert ours.affordable(10_000_000, 2 * ours.BYTES * 1000) == 1000


def test_the_rate_of_redis_benchmark_is_read_past_a_payload_with_quotes() -> None:
    head = '"test","rps","avg_latency_ms","min_latency_ms","p50_latency_ms","p95_latency_ms",...'
    line = '"LPUSH q {"id":"1","data":0}","84388.19","0.010","0.000","0.007","0.023","0.039","0.175"'

    assert limits.requests_a_second(f"{head}\n{line}\n") == 84388.19


def test_a_producer_sends_one_by_one_or_a_thousand_at_a_time() -> None:
    peer = SimpleNamespace(one="one", many="many")

    single: list[Any] = list(push.calls(peer, "one", "hold", 3))
    assert single == [("one", 0, 1), ("one", 1, 1), ("one", 2, 1)]
    chunks: list[Any] = [(call, len(data), sent) for call, data, sent in push.calls(peer, "many", "noop", 2500)]
    assert chunks == [("many", 1000, 1000), ("many", 1000, 1000), ("many", 500, 500)]
    ((_, data, _),) = islice(push.calls(peer, "spaced", "blob", 1), 1)
    assert len(data) == BLOB


def test_every_task_has_something_to_be_sent_with() -> None:
    assert set(DATA) == {"noop", "nap", "burn", "blob", "age", "hold"}
