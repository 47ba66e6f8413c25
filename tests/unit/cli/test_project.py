"""What a Django project says of the engine, asked in a process of its own."""

import os
from pathlib import Path

import pytest

from multiworker.cli import project
from multiworker.cli.project import ask
from multiworker.worker.errors import SettingsError


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A settings module named `told` in the working directory, to be written."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith(("MULTIWORKER", "REDIS"))]:
        monkeypatch.delenv(name)
    return tmp_path / "told.py"


def refused() -> str:
    with pytest.raises(SettingsError) as caught:
        ask("told")
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_what_stands_in_the_setting_is_returned_whatever_the_module_prints(
    written: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    written.write_text(
        "import os\nprint('noise')\nos.write(1, b'more noise')\n"
        "MULTIWORKER = {'QUEUE': ('a', 'b'), 'PROCS': 'auto', 'PRELOAD': True, 'EAGER': True}\n"
        "MULTIWORKER['REDIS'] = 'redis://:secret@host'\n"
    )
    found = ask("told")
    assert found.options == {"queue": ["a", "b"], "procs": "auto", "preload": True, "redis": "redis://:secret@host"}
    assert found.origin("max_tasks") == 'MULTIWORKER["MAX_TASKS"] of told'
    assert "secret" not in repr(found)
    out, err = capfd.readouterr()
    assert (out, "noise" in err) == ("", True)


def test_a_project_without_the_setting_says_nothing(written: Path) -> None:
    written.write_text("")
    assert ask("told").options == {}


def test_what_is_wrong_with_it_is_one_line(written: Path) -> None:
    written.write_text("MULTIWORKER = {'REDIS': 'redis://:secret@host:x'}")
    assert refused() == 'told: MULTIWORKER["REDIS"] has a host or port that cannot be: an unreadable URL'
    written.write_text("raise RuntimeError('no\\nluck at redis://:secret@host')")
    assert refused() == "told: RuntimeError: no\\nluck at redis://***@host"
    written.write_text("raise SystemExit(3)")
    assert refused() == "told: SystemExit: 3"
    written.write_text("import os\nos._exit(5)")
    assert refused() == "told: the process that reads it ended with 5"


def test_settings_that_never_end_are_given_up(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(project, "PATIENCE", 0.5)
    written.write_text("import time\ntime.sleep(1000)")
    assert refused() == "told: not imported within 0.5 s"
