"""``etc/multiworker.toml``, which operators copy: it is complete, true, and changes nothing until it is changed."""

import re
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest

from multiworker.cli.start import read_again
from multiworker.worker.settings import OPTION_NAMES, Settings

SAMPLE = Path(__file__).parents[3] / "etc" / "multiworker.toml"
LINES = SAMPLE.read_text("utf-8").splitlines()
UNCOMMENTED = "\n".join(re.sub(r"^#(?=\S)", "", line) for line in LINES)


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*OPTION_NAMES, "config"):
        monkeypatch.delenv(f"MULTIWORKER_{name.upper()}", raising=False)
    monkeypatch.delenv("REDIS_URL", raising=False)


def test_as_it_is_it_changes_nothing() -> None:
    assert read_again(["--config", str(SAMPLE)]) == Settings()


def test_it_has_every_setting_and_no_other() -> None:
    assert sorted(tomllib.loads(UNCOMMENTED)) == sorted(OPTION_NAMES)


def test_every_line_is_valid_and_what_is_a_default_is_the_default(tmp_path: Path) -> None:
    # given all of it
    path = tmp_path / "multiworker.toml"
    path.write_text(UNCOMMENTED.replace("project.settings", "django.conf.global_settings"))  # one that is there
    # when it is read, then what it says are the defaults, or settings that have none
    settings = read_again(["--config", str(path)])
    for option in fields(Settings):
        given = getattr(settings, option.name)
        if option.default in {None, ()}:
            assert given, option.name
        else:
            assert given == option.default, option.name


def test_every_setting_is_explained_and_says_if_it_has_no_default() -> None:
    nameless = {option.name for option in fields(Settings) if option.default in {None, ()}}
    text = ""
    for line in LINES:
        if match := re.match(r"#(\w+) = ", line):
            assert len(text) > len("# ."), line
            assert ("No default" in text) == (match[1] in nameless), line
        elif line.startswith("# "):
            text += line
        else:
            text = ""


def test_a_line_is_a_comment_or_a_setting_that_is_commented_out() -> None:
    assert all(re.fullmatch(r"|#|# .*|#\w+ = .+", line) for line in LINES)
