"""The short form of the parent's acceptance list, without its bars of time, memory and CPU."""

import re
from pathlib import Path

import pytest

from tests.chaos.parent import ROWS, measure

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", ROWS)
def test_row(name: str) -> None:
    # given a Redis and a parent, when the row is gone through
    measured = measure(ROWS[name], quick=True)
    # then it is right, be it slow
    assert measured.right, measured.said


def test_the_list_in_the_documentation_is_complete_and_names_tests_that_exist() -> None:
    text = (ROOT / "docs" / "supervisor.md").read_text("utf-8")
    rows = re.findall(r"^\| (\w+) \| .* \| `(\w+\.py)::(\w+)` \|$", text, re.MULTILINE)
    assert [name for name, _, _ in rows if name.isdigit()] == [str(number) for number in range(1, 36)]
    assert set(ROWS) <= {name for name, _, _ in rows}
    for _, file, test in rows:
        texts = [path.read_text() for path in (ROOT / "tests").rglob(file)]
        assert any(f"def {test}(" in text for text in texts), f"{file}::{test}"
