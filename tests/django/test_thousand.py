"""The load of thousand.py, with fewer tasks."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_result_is_right_under_load_and_kills() -> None:
    command = [sys.executable, "-m", "tests.django.thousand", "--tasks", "40", "--kills", "2"]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert json.loads(answer.stdout.splitlines()[-1]) == {"tasks": 200, "wrong": 0}
