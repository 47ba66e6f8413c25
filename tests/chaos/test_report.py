"""The judge of chaos runs finds whatever is planted: a loss, a duplicate, an account that does not fit."""

import os
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.ledger import EVERYBODY, RECORD, Event, Fault, Run, kill, longest_silence, note, read, read_fatal
from tests.chaos.report import Bars, Evidence, Judgement, conservation, judge, table_row

VICTIM, OTHER, NEW = 10, 11, 12
KILLED_AT = 1_000
MS = 1_000_000
KILL = kill(VICTIM, "vm-10-aa", KILLED_AT * MS, KILLED_AT * MS + 1)
ACCOUNT = "claimed 6 = done 4 + retried 0 + dead 0 + given back 2 + in flight 0: adds up"
LOG = f"""\
2026-01-31T12:00:01.000Z ERROR   1 child 1 (pid {VICTIM}, generation 1) died: signal 9 (SIGKILL)
2026-01-31T12:00:01.010Z INFO    {OTHER} worker {KILL.worker} ended by signal 9: 2 tasks given back
2026-01-31T12:00:02.000Z INFO    1 {ACCOUNT}
"""


def run(task: int, pid: int, start: int, end: int | None, attempt: int = 1) -> Run:
    """Make a run; times in ms."""
    return Run(task, pid, attempt, start * MS, None if end is None else end * MS)


def runs(*more: Run, without: Callable[[Run], bool] = lambda _: False) -> list[Run]:
    """Return four tasks' runs: 0 and 1 done, 2 cut off by the kill, 3 ended just before it; plus and minus some."""
    sound = [
        run(0, VICTIM, 100, 120),
        run(1, OTHER, 980, 1_000),
        run(2, VICTIM, 990, None),
        run(3, VICTIM, 970, 999),
        run(2, OTHER, 1_050, 1_070),
        run(3, NEW, 1_060, 1_080),
    ]
    return sorted([one for one in [*sound, *more] if not without(one)], key=lambda one: one.start)


def evidence(**changes: Any) -> Evidence:
    sound = Evidence(
        tasks=range(4), concurrency=20, runs=runs(), faults=[KILL], logs=[LOG], exit_codes=[0], left={}, dead=[]
    )
    return replace(sound, **changes)


def judged(seen: Evidence, **bars: Any) -> Judgement:
    return judge(seen, Bars(**({"recovery": 1.0, "silence": 1.0, "duplicates": True} | bars)))


def wrong(seen: Evidence, **bars: Any) -> set[str]:
    return {line.name.strip() for line in judged(seen, **bars).wrong}


def test_sound_run_passes() -> None:
    judgement = judged(evidence())

    assert judgement.wrong == []
    assert judgement.value("duplicates explained") == "2"
    assert judgement.value("of them ended, not acknowledged").startswith("1, the longest 0.001 s")
    assert judgement.value("tasks by faults seen") == "2 in 1"
    assert table_row("name", judgement).endswith("| ok |")


@pytest.mark.parametrize(
    ("planted", "found"),
    [
        pytest.param(
            runs(without=lambda one: one.task == 1), {"lost", "claimed less given back"}, id="a task that never ran"
        ),
        pytest.param(
            runs(without=lambda one: one.task == 2 and one.pid == OTHER),
            {"lost", "claimed less given back"},
            id="a task that was cut off and never ran again",
        ),
        pytest.param(
            runs(run(0, OTHER, 1_030, 1_050)), {"duplicates unexplained"}, id="again after its acknowledgement"
        ),
        pytest.param(
            runs(run(1, NEW, 1_030, 1_050)), {"duplicates unexplained"}, id="again although its child was not killed"
        ),
        pytest.param(
            runs(run(0, OTHER, 500, 520)), {"duplicates unexplained"}, id="again before the kill that would explain it"
        ),
        pytest.param(
            runs(run(1, NEW, 990, 1_010)), {"duplicates unexplained", "runs overlapping"}, id="twice at the same time"
        ),
        pytest.param(
            runs(run(2, NEW, 1_055, 1_075)), {"duplicates unexplained", "runs overlapping"}, id="given back twice"
        ),
        pytest.param(
            runs(run(1, OTHER, 960, None)),
            {"runs without an end or a fault", "duplicates unexplained", "runs overlapping"},
            id="a run that a living child forgot",
        ),
        pytest.param(
            runs(run(9, OTHER, 500, 520)),
            {"runs of strange tasks or attempts", "claimed less given back"},
            id="a task nobody pushed",
        ),
        pytest.param(
            runs(run(3, NEW, 1_060, 1_080, attempt=2), without=lambda one: one.pid == NEW and one.attempt == 1),
            {"runs of strange tasks or attempts"},
            id="a crash that used up an attempt",
        ),
    ],
)
def test_planted_run_is_found(planted: list[Run], found: set[str]) -> None:
    assert wrong(evidence(runs=planted)) == found


def account(**numbers: int) -> str:
    """Return the log with other numbers in the line of conservation."""
    said = {"claimed": 6, "done": 4, "retried": 0, "dead": 0, "given_back": 2, "in_flight": 0} | numbers
    words = " + ".join(f"{name.replace('_', ' ')} {n}" for name, n in said.items() if name != "claimed")
    return LOG.replace(ACCOUNT, f"claimed {said['claimed']} = {words}: says whatever")


@pytest.mark.parametrize(
    ("log", "found"),
    [
        pytest.param(account(done=3), {"claimed", "claimed less given back"}, id="claimed and never heard of again"),
        pytest.param(account(claimed=7, done=5), {"claimed less given back"}, id="acknowledged twice"),
        pytest.param(account(claimed=5, given_back=1), {"given back, by the log"}, id="given back and not counted"),
        pytest.param(LOG.replace(ACCOUNT, ""), {"conservation"}, id="no line of conservation"),
        pytest.param(
            account(claimed=5, given_back=1).replace("2 tasks", "1 tasks"),
            {"of them had started"},
            id="fewer given back than ran again",
        ),
        pytest.param(
            LOG + f"2026-01-31T12:00:01.500Z ERROR   1 child 2 (pid {OTHER}, generation 1) died: exit code 70\n",
            {"deaths of children not aimed at"},
            id="another child died",
        ),
    ],
)
def test_account_that_does_not_fit_is_found(log: str, found: set[str]) -> None:
    assert wrong(evidence(logs=[log])) == found


def test_recovery_whose_line_is_missing_is_no_fault() -> None:
    """Whoever gives tasks back may be killed before it says so."""
    silent = "\n".join(line for line in LOG.splitlines() if "given back" not in line or "claimed" in line)

    assert wrong(evidence(logs=[silent])) == set()


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"exit_codes": [0, 70]}, "exit codes"),
        ({"left": {"suspects": 1}}, "stranded in Redis"),
        ({"dead": [{"reason": "crashed"}]}, "dead letters"),
        ({"zombies": 1}, "zombies and orphans"),
    ],
)
def test_bad_end_is_found(change: dict[str, Any], found: str) -> None:
    assert wrong(evidence(**change)) == {found}


def test_slow_recovery_is_found() -> None:
    assert wrong(evidence(), recovery=0.055) == {"fault to new start"}


def test_silence_of_a_living_child_is_found() -> None:
    seen = [run(0, VICTIM, 100, 120), run(1, OTHER, 200, 220), run(2, OTHER, 990, 1_010), run(3, NEW, 9_000, 9_010)]

    assert longest_silence(seen, [KILL]) == pytest.approx(8.01)
    assert longest_silence(seen[:-1], [KILL]) == pytest.approx(0.89)
    assert "longest silence of a living child" in wrong(evidence(runs=seen))


def test_ledger_is_read_as_it_was_noted(tmp_path: Path) -> None:
    fd = os.open(tmp_path / "ledger", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    note(fd, Event.START, 7, 0, 1)
    note(fd, Event.START, 8, 1, 2)
    note(fd, Event.END, 7, 0, 1)
    os.close(fd)

    first, second = read(tmp_path / "ledger")

    assert (first.task, first.pid, first.attempt, second.task, second.attempt) == (7, os.getpid(), 1, 8, 2)
    assert first.end is not None
    assert first.start <= second.start <= first.end
    assert second.end is None


def test_no_record_lies_on_two_pages() -> None:
    """A kill can cut a write short between two pages, so a record must not cross from one to the next."""
    edges = [number * RECORD.size for number in range(4096 // RECORD.size + 1)]

    assert edges[-1] == 4096
    assert all(first // 4096 == (last - 1) // 4096 for first, last in pairwise(edges))


def test_last_line_of_conservation_counts() -> None:
    log = ACCOUNT.replace("claimed 6", "claimed 1") + "\n" + ACCOUNT

    assert conservation(log) == {"claimed": 6, "done": 4, "retried": 0, "dead": 0, "given back": 2, "in flight": 0}


STOPPED_AT, GOES_ON_AT = 500, 900
STOP = Fault("stop", frozenset({OTHER}), STOPPED_AT * MS, GOES_ON_AT * MS, deadly=False)
BESIDE = [run(7, OTHER, 400, 950), run(7, NEW, 700, 720)]


def test_run_of_a_stopped_process_may_go_on_beside_a_new_one_only_if_allowed() -> None:
    seen = evidence(tasks=[7], runs=BESIDE, faults=[STOP], logs=[])

    assert wrong(seen, accounts=False, beside=True, silence=None) == set()
    assert wrong(seen, accounts=False, silence=None) == {"runs beside one thought dead"}
    assert wrong(replace(seen, faults=[]), accounts=False, silence=None) == {
        "duplicates unexplained",
        "runs overlapping",
    }


def test_what_redis_forgot_explains_everybodys_runs() -> None:
    crash = Fault("crash", EVERYBODY, 1_000 * MS, 1_100 * MS, deadly=False, reach=2.0)
    seen = evidence(tasks=[7], runs=[run(7, OTHER, 100, 200), run(7, NEW, 1_200, 1_300)], faults=[crash], logs=[])

    assert wrong(seen, accounts=False, recovery=None, silence=None) == set()
    late = replace(seen, faults=[crash._replace(reach=0.5)])
    assert wrong(late, accounts=False, recovery=None, silence=None) == {"duplicates unexplained"}


def test_no_duplicate_is_allowed_where_none_is_due() -> None:
    assert wrong(evidence(), duplicates=False) == {"duplicates explained"}


def test_push_without_an_answer_may_run_or_not() -> None:
    known = [one for one in runs() if one.task != 1]

    assert wrong(evidence(tasks=[0, 2, 3], unconfirmed=[1])) == set()
    assert wrong(evidence(tasks=[0, 2, 3], unconfirmed=[1], runs=known), accounts=False) == set()


def test_push_that_redis_may_forget_is_counted_and_others_are_not_excused() -> None:
    seen = evidence(tasks=range(6))

    assert wrong(seen, forgotten=[4, 5]) == set()
    assert judged(seen, forgotten=[4, 5]).value("young pushes that Redis forgot") == "2 of 2"
    assert wrong(seen, forgotten=[4]) == {"lost"}


def test_dead_letters_are_the_expected_ones() -> None:
    letter = {"reason": "crashed", "payload": '{"type": "chaos", "data": {"n": 9}}'}
    seen = evidence(tasks=[*range(4), 9], dead=[letter])

    assert wrong(seen, dead=[9], accounts=False) == set()
    assert wrong(seen, dead=[9, 3], accounts=False) == {"dead letters"}
    assert wrong(seen, accounts=False) == {"dead letters", "lost"}


def test_handler_that_ends_its_process_is_a_fault(tmp_path: Path) -> None:
    fd = os.open(tmp_path / "ledger", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    note(fd, Event.START, 7, 0, 1)
    note(fd, Event.FATAL, 7, 0, 1)
    os.close(fd)

    (fault,) = read_fatal(tmp_path / "ledger", last=1_000)
    (first,) = read(tmp_path / "ledger")

    assert fault.pids == {os.getpid()}
    assert fault.explains(first, run(7, NEW, first.start // MS + 60_000, None))


def test_report_without_a_task_is_wrong() -> None:
    seen = evidence(tasks=[], runs=[], faults=[], logs=[])

    assert wrong(seen, accounts=False) == {"tasks acknowledged by Redis"}
