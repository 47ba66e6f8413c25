"""The hot path does not get slower unseen: instructions a task, beside what is on record in bench/instructions.py."""

import os
import shutil
import sys

import pytest

from bench import instructions


@pytest.mark.timeout(600)
@pytest.mark.skipif(shutil.which("valgrind") is None and "CI" not in os.environ, reason="valgrind is not on PATH")
def test_a_task_costs_no_more_instructions_than_on_record(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given that nothing else is counted, such as what measures coverage
    for name in [name for name in os.environ if name.startswith("COV")]:
        monkeypatch.delenv(name)

    # When a child, and a plain client in its place, run thousands of tasks under an instruction counter
    figures = instructions.measure()

    # Then neither our Python nor our Lua has grown by more than 15 %
    assert [bar for bar in instructions.judge(figures, sys.version_info[:2]) if not bar.passed] == []
