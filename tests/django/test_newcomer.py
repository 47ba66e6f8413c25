"""From ``pip install multiworker`` to a task that runs, as the documents say it, in a new virtual environment."""

import re
import signal
import sys
from collections.abc import Iterator

import pytest

from tests.django.fix_clean import ROOT, Clean
from tests.system.fix_system import until

# Packages come from an index: one process fetches them, while the rest of the suite runs beside it.
pytestmark = [pytest.mark.xdist_group("packaging"), pytest.mark.timeout(300)]

WORKER = "python manage.py async_command"
DJANGO = "5.2" if sys.version_info < (3, 12) else "6."


def section(document: str, heading: str) -> Iterator[tuple[str, str]]:
    """Return language and text of each fenced block in one section."""
    text = (ROOT / document).read_text("utf-8")
    (body,) = re.findall(rf"^## {heading}\n(.*?)(?=^## )", text, re.MULTILINE | re.DOTALL)
    return ((match[1], match[2]) for match in re.finditer(r"^```(\w+)\n(.*?)^```$", body, re.MULTILINE | re.DOTALL))


def follow(clean: Clean, document: str, heading: str, expected: str) -> int:
    """Do what a section says; a worker is stopped when it has said what is expected.

    Returns:
        How many commands it took.
    """
    lines = []
    for language, text in section(document, heading):
        if language == "python":
            name = text.partition("\n")[0].removeprefix("# ")
            (clean.home / name).write_text(text)
            continue
        for line in text.splitlines():
            lines.append(line)
            if line == WORKER:
                run_worker(clean, expected)
            else:
                clean.type(line)
    assert lines[-1] == WORKER
    return len(lines)


def run_worker(clean: Clean, expected: str) -> None:
    """Run a worker until it has said something, and stop it."""
    worker = clean.begin(WORKER)
    until(lambda: expected in clean.log() or worker.poll() is not None, expected, clean.log)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait() == 0, clean.log()
    assert expected in clean.log()


def test_five_commands_lead_to_a_task_that_runs(clean: Clean) -> None:
    # given nothing but Python and Redis, when somebody does what the README says, then a task runs
    assert follow(clean, "README.md", "In a Django project", "sent to user@example.com") == 5
    assert clean.type("django-admin --version").startswith(DJANGO)
    # and when they do what the first section of the longer text says, then one of Django's own tasks runs, too
    follow(clean, "docs/django.md", "Start", "the sum is 3")
