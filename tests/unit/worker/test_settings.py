"""The settings: what they accept, what they refuse, and what they never show."""

import math
import re
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from multiworker.worker.errors import SettingsError
from multiworker.worker.settings import (
    _RANGES,
    MAX_CONCURRENCY,
    MAX_PROCS,
    OPTION_NAMES,
    Settings,
    check_redis_url,
    parse_procs,
    parse_size,
    redacted,
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


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://localhost:6379/0", "redis://localhost:6379/0"),
        ("redis://:s3cret@host:1/2", "redis://***@host:1/2"),
        ("rediss://user:s3cret@host", "rediss://***@host"),
        ("redis://host/0?password=s3cret", "redis://host/0"),
        ("redis://host/0#s3cret", "redis://host/0"),
        ("unix:///run/redis.sock?db=1&password=s3cret", "unix:///run/redis.sock"),
        ("unix://user:s3cret@/run/redis.sock", "unix://***@/run/redis.sock"),
        ("embedded:/var/lib/x", "embedded:/var/lib/x"),
        ("embedded:", "embedded:"),
        ("redis://:s3cret@[::1]:7/0", "redis://***@[::1]:7/0"),
        ("redis://:s3:cret@host", "redis://***@host"),
        ("redis://:s3@cret@host", "redis://***@host"),
        ("redis://:s3/cret@host", "an unreadable URL"),
        ("redis://:12/34@host/0", "an unreadable URL"),
        ("redis://user:1#s3cret@host/0", "an unreadable URL"),
        ("redis://user:1?s3cret@host/0", "an unreadable URL"),
        ("redis://host:s3cret", "an unreadable URL"),
        ("redis://[::1", "an unreadable URL"),
    ],
)
def test_a_url_is_shown_without_its_secrets(url: str, shown: str) -> None:
    assert redacted(url) == shown


PASSWORDS = st.text(st.sampled_from("0123456789s3cret:@/?#[]%&=+$ \u00e9"), min_size=6, max_size=20)


@given(password=PASSWORDS, user=st.sampled_from(["", "user"]), host=st.sampled_from(["h", "[::1]", "", "h:7"]))
@example(password="12/3456", user="", host="h")
@example(password="1?s3cret", user="", host="h")
@example(password="1#s3cret", user="", host="h")
def test_no_url_of_any_form_shows_a_part_of_its_password(password: str, user: str, host: str) -> None:
    url = f"redis://{user}:{password}@{host}/0"
    said = redacted(url)
    try:
        check_redis_url(url)
    except SettingsError as error:
        said += str(error)
    parts = [part for part in re.split(r"\W", password) if len(part) > 3]
    assert not [part for part in (password, *parts) if part in said]


@pytest.mark.parametrize(
    "option", ["decode_responses=true", "protocol=3", "retry_on_timeout=1", "socket_timeout=1", "x"]
)
def test_options_of_the_url_that_would_change_the_protocol_are_refused(option: str) -> None:
    assert "option" in refused(redis=f"redis://h/0?{option}")
    assert "option" in refused(redis=f"unix:///run/redis.sock?{option}")


@pytest.mark.parametrize(
    "url", ["redis://h", "rediss://h:1/0", "unix:///x", "embedded:", "embedded:x/y", "redis://:p%40@[::1]:7/0"]
)
def test_redis_urls_are_accepted(url: str) -> None:
    assert Settings(redis=url).redis == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://s3cret",
        "redis:s3cret@h",
        "redis",
        "s3cret",
        "redis://h:s3cret",
        "redis://h:99999",
        "REDIS//x",
        "redis://h/x",
    ],
)
def test_what_is_no_redis_url_is_refused_without_repeating_it(url: str) -> None:
    text = refused(redis=url)
    assert text.startswith("--redis ")
    assert "s3cret" not in text


def test_the_url_is_not_in_the_repr() -> None:
    assert "s3cret" not in repr(Settings(redis="redis://:s3cret@h"))
