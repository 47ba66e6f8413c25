"""How a run is judged and reported."""

import json
import math
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from bench import chart, report
from bench.bars import judge, ratios
from bench.contenders import CONTENDERS, US
from bench.figures import KINDS, PEERS, RIVALS, Bar, Run
from bench.limits import LIMITS, STEPS

VERSIONS = {contender.name: "1.2.3" for contender in CONTENDERS}


def run_of(**figures: dict[str, list[float]]) -> Run:
    return Run(figures=figures)


def only(bars: list[Bar], name: str) -> Bar:
    (bar,) = [bar for bar in bars if bar.name == name]
    return bar


def test_the_rival_is_the_fastest_that_keeps_the_tasks_of_a_killed_process() -> None:
    run = run_of(noop={US: [800.0], "Huey": [200.0], "TaskIQ list": [300.0], "Dramatiq": [100.0], "arq": [50.0]})

    bar = only(judge(run), "no-op, 2 x 20 / Dramatiq")

    assert (bar.value, bar.passed) == (8.0, True)


def test_ratios_are_taken_in_each_round() -> None:
    run = run_of(noop={US: [100.0, 10.0, 1000.0], STEPS: [200.0, 20.0, 1000.0]})

    assert run.ratio("noop", STEPS) == 0.5
    assert not only(judge(run), f"no-op, 2 x 20 / {STEPS}").passed


def test_latency_must_be_at_most_that_of_the_best_peer_even_one_that_loses_tasks() -> None:
    run = run_of(p50={US: [0.9], "Huey": [0.8], "arq": [5.0]})

    bar = only(judge(run), "idle latency, p50 / Huey")

    assert bar.most
    assert not bar.passed


@pytest.mark.parametrize(("start", "place"), [(0.05, 1), (0.25, 3), (0.9, 5)])
def test_the_place_of_the_cold_start(start: float, place: int) -> None:
    run = run_of(start={US: [start], "arq": [0.1], "SAQ": [0.2], "RQ": [0.3], "Celery": [0.4]})

    bar = only(judge(run), "cold start, place among all")

    assert (bar.value, bar.passed) == (place, place <= 3)


def test_a_second_child_is_compared_with_one_child_of_the_same_run() -> None:
    run = run_of(burn={US: [1600.0]}, burn_alone={US: [1000.0]})

    assert not only(judge(run), "1 ms CPU, two children / one").passed


def test_what_was_not_measured_is_not_judged() -> None:
    assert judge(Run()) == []
    assert judge(run_of(noop={US: [1.0]}, burn={US: [1.0]}, memory={"arq": [1.0]})) == []
    assert ratios(Run()) == []


def test_every_bar_can_be_reached() -> None:
    names = [US, *PEERS, *{name for limits in LIMITS.values() for name in limits}]
    run = run_of(**{key: {name: [1.0, 2.0, 3.0] for name in names} for key in KINDS})

    assert len(judge(run)) == 21
    assert len(ratios(run)) == 12


def test_the_best_is_ranked_last_and_who_has_no_number_is_left_out() -> None:
    run = run_of(
        noop={US: [3.0], "arq": [1.0, 9.0, 2.0], STEPS: [9.0]}, restart={US: [4.0], "SAQ": [9.0], "Huey": [math.inf]}
    )

    assert run.ranked("noop") == [("arq", 2.0), (US, 3.0)]
    assert run.ranked("restart") == [("SAQ", 9.0), (US, 4.0)]


def test_the_chart_shows_every_contender_and_says_which_way_is_better(tmp_path: Path) -> None:
    run = run_of(noop={US: [90_000.0], **{peer: [1_000.0] for peer in PEERS}}, p99={US: [1.5], "arq": [12.25]})

    chart.draw(run, tmp_path / "chart.svg")

    text = "".join(ET.parse(tmp_path / "chart.svg").getroot().itertext())
    assert all(peer in text for peer in PEERS)
    assert "90,000" in text
    assert "12.25" in text
    assert "no-op, 2 x 20, tasks/s (more is better)" in text
    assert "idle latency, p99, ms (less is better)" in text


def test_there_is_no_chart_of_nothing(tmp_path: Path) -> None:
    chart.draw(run_of(noop={US: [1.0]}), tmp_path / "chart.svg")

    assert not (tmp_path / "chart.svg").exists()


def test_only_peers_that_keep_tasks_are_rivals() -> None:
    assert set(PEERS) - set(RIVALS) == {"Huey", "TaskIQ list"}


def test_a_bar_says_whether_it_is_met() -> None:
    assert str(Bar("speed", 9, 8, " x", goal=15)) == "ok    speed: 9.00 x, bar at least 8 x, goal 15 x"
    assert str(Bar("size", 9, 8, " MiB", most=True)) == "MISS  size: 9.00 MiB, bar at most 8 MiB"


@pytest.mark.parametrize(
    ("values", "said"),
    [([], ""), ([1234.5], "1,234"), ([1.0, 3.0, 2.0], "2 (1 to 3)"), ([math.inf], "not seen"), ([7.0, 7.0], "7")],
)
def test_a_cell_has_the_median_and_the_spread(values: list[float], said: str) -> None:
    assert report.cell(values, 0) == said


def test_a_table_reads_well_as_it_is() -> None:
    assert report.table(["", "a"], [["long name", "1"]]).splitlines() == [
        "|           | a |",
        "| --------- | - |",
        "| long name | 1 |",
    ]


def test_the_report_names_guarantee_limit_and_failure() -> None:
    run = run_of(noop={US: [2.0], "Huey": [1.0], STEPS: [4.0]}, restart={"Huey": [math.inf]})
    run.failures.append({"who": "RQ", "load": "nap", "error": "stuck"})

    text = report.markdown(run, judge(run), VERSIONS, {"cores": 2})

    assert "cores 2" in text
    assert "| Huey          | 1.2.3   | at most once" in text
    assert f"| *{STEPS}*" in text
    assert "not seen" in text
    assert "failed: RQ, nap: stuck" in text
    assert "MISS  no-op, 2 x 20 / bare step script: 50.00 %" in text


def test_the_document_is_json() -> None:
    run = run_of(restart={US: [4.0], "Huey": [math.inf]})

    document = json.loads(json.dumps(report.document(run, judge(run), VERSIONS, {}), allow_nan=False))

    assert document["figures"]["restart"] == {US: [4.0], "Huey": [None]}
    assert document["contenders"]["Huey"]["delivery"] == "at most once"
    assert document["units"] == {"restart": "ms"}
