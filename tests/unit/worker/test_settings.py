"""The settings: what they accept, what they refuse, and what they never show."""

import math
import re
from dataclasses import fields
from typing import Any

import pytest

from multiworker.worker.errors import SettingsError
from multiworker.worker.settings import (
    _RANGES,
    MAX_CONCURRENCY,
    MAX_PROCS,
    OPTION_NAMES,
    Settings,
    parse_procs,
    parse_size,
)


def refused(**options: Any) -> str:
    """The error of settings that cannot be."""
    with pytest.raises(SettingsError) as caught:
        Settings(**options)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_the_defaults_are_valid_and_as_documented() -> None:
    settings = Settings()
    assert (settings.procs, settings.concurrency, settings.queue) == (0, 20, ("async_tasks",))
    assert (settings.max_attempts, settings.max_payload, settings.claim) == (3, 256 * 1024, 20)
    assert (settings.grace, settings.stuck_timeout, settings.lease) == (30, 30, 45)


def test_a_lease_outlasts_a_stuck_child() -> None:
    for patience in (0.1, 7, 86_400):
        assert Settings(stuck_timeout=patience).lease == pytest.approx(1.5 * patience)


def test_a_claim_is_never_more_than_permits_batch_size_and_what_a_script_can_take() -> None:
    assert Settings(concurrency=7).claim == 7
    assert Settings(concurrency=7, batch_size=3).claim == 3
    assert Settings(concurrency=3, batch_size=7).claim == 3
    assert Settings(concurrency=MAX_CONCURRENCY).claim == 1000


@pytest.mark.parametrize("option", _RANGES)
def test_every_number_has_bounds_and_the_error_names_the_option(option: str) -> None:
    low, high = _RANGES[option]
    kind = int if isinstance(low, int) and option not in {"timeout", "grace"} else float
    for value in (low, high):
        options: dict[str, Any] = {option: kind(value)}
        assert getattr(Settings(**options), option) == value
    for value in (low - 1, low - 0.001, high * 2 + 1, math.nan, math.inf, -math.inf):
        assert refused(**{option: value}).startswith(f"--{option.replace('_', '-')} is ")


def test_every_number_among_the_options_has_bounds() -> None:
    numbers = {option.name for option in fields(Settings) if re.search(r"\b(int|float)\b", str(option.type))}
    assert numbers == set(_RANGES)


def test_options_have_a_help_text_and_are_listed_in_order() -> None:
    assert tuple(option.name for option in fields(Settings)) == OPTION_NAMES
    assert all(option.metadata["help"].endswith((".", ").")) for option in fields(Settings))


@pytest.mark.parametrize(
    "options",
    [
        {"queue": ()},
        {"queue": ("a", "a")},
        {"queue": ("a{b",)},
        {"queue": ("",)},
        {"handler": ("a b",)},
        {"handler": ("a:b:c",)},
        {"handler": ("a.b:c.d",)},
        {"handler": ("",)},
        {"handler": ("../x",)},
        {"handler": ("a\n",)},
        {"name": ""},
        {"name": "a b"},
        {"name": "x" * 65},
        {"name": "../x"},
        {"log_format": "xml"},
        {"log_level": "loud"},
        {"redis": "localhost"},
    ],
    ids=str,
)
def test_words_that_cannot_be_are_refused(options: dict[str, Any]) -> None:
    refused(**options)


@pytest.mark.parametrize("spec", ["app", "app.tasks", "app.tasks:run", "_a1.b_2:c", "\u00e4pp:l\u00e4uft"])
def test_modules_and_functions_are_accepted(spec: str) -> None:
    assert Settings(handler=(spec,)).handler == (spec,)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("4096", 4096),
        ("0", 0),
        ("1k", 1000),
        ("1 KiB", 1024),
        (" 1.5MiB ", 1572864),
        ("2GB", 2 * 10**9),
        ("1gib", 2**30),
    ],
)
def test_sizes_are_read(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "x", "-1", "1 XB", "1e3", "1.KiB", "0x10", "1 K i B", "1\n2"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="a size is"):
        parse_size(text)


@pytest.mark.parametrize(("text", "procs"), [("auto", 0), ("1", 1), ("007", 7), (str(MAX_PROCS), MAX_PROCS)])
def test_numbers_of_children_are_read(text: str, procs: int) -> None:
    assert parse_procs(text) == procs


@pytest.mark.parametrize("text", ["", "0", "-1", "1.5", "AUTO", str(MAX_PROCS + 1), "\u0663", "\u00b2", "1e2"])
def test_what_is_no_number_of_children_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="the number of children"):
        parse_procs(text)


def test_the_url_is_not_in_the_repr() -> None:
    assert "s3cret" not in repr(Settings(redis="redis://:s3cret@h"))
