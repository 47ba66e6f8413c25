"""Settings from command line, environment and file; and what is said when they are wrong."""

import re
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from multiworker.cli.root import COMMANDS, run
from multiworker.cli.start import read_again
from multiworker.worker.errors import Exit, SettingsError
from multiworker.worker.settings import OPTION_NAMES, REDIS_VARIABLES, Settings

OTHERS: dict[str, tuple[str, Any]] = {
    "procs": ("3", 3),
    "concurrency": ("7", 7),
    "redis": ("redis://elsewhere:1/2", "redis://elsewhere:1/2"),
    "queue": ("other", ("other",)),
    "handler": ("app.tasks:run", ("app.tasks:run",)),
    "settings": ("django.conf.global_settings", "django.conf.global_settings"),
    "max_tasks": ("5", 5),
    "timeout": ("2.5", 2.5),
    "max_attempts": ("9", 9),
    "grace": ("0", 0.0),
    "stuck_timeout": ("1", 1.0),
    "pidfile": ("/run/x.pid", "/run/x.pid"),
    "name": ("blue", "blue"),
    "log_format": ("json", "json"),
    "log_level": ("debug", "debug"),
    "max_payload": ("1MiB", 1024 * 1024),
    "batch_size": ("4", 4),
    "interval": ("0.5", 0.5),
    "redis_wait": ("0", 0.0),
    "boot_timeout": ("5", 5.0),
    "max_tasks_per_child": ("100", 100),
    "max_memory_per_child": ("64MiB", 64 * 1024 * 1024),
    "max_age_per_child": ("60", 60.0),
}
"""A text for each option, and the value that it means."""
FLAGS = [option.name for option in fields(Settings) if option.type is bool]


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*OPTION_NAMES, "config"):
        monkeypatch.delenv(f"MULTIWORKER_{name.upper()}", raising=False)
    for name in REDIS_VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(f"{name}_FILE", raising=False)


def written(tmp_path: Path, text: str) -> str:
    path = tmp_path / "multiworker.toml"
    path.write_text(text)
    return str(path)


def changed(name: str, value: Any) -> Settings:
    """The default settings, but for one."""
    return replace(Settings(), **{name: value})


def test_every_option_is_tried_here() -> None:
    assert sorted([*OTHERS, *FLAGS]) == sorted(OPTION_NAMES)


def test_nothing_given_gives_the_defaults() -> None:
    assert read_again([]) == Settings()


@pytest.mark.parametrize("name", OTHERS)
def test_every_option_by_command_line_environment_and_file(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    text, value = OTHERS[name]
    expected = changed(name, value)

    assert read_again([f"--{name.replace('_', '-')}", text]) == expected
    assert read_again(["--config", written(tmp_path, f'{name} = "{text}"')]) == expected
    assert (
        read_again(["--config", written(tmp_path, f'[multiworker]\n{name.replace("_", "-")} = "{text}"')]) == expected
    )
    monkeypatch.setenv(f"MULTIWORKER_{name.upper()}", text)
    assert read_again([]) == expected


@pytest.mark.parametrize("name", FLAGS)
def test_every_flag_by_command_line_environment_and_file(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    on = changed(name, True)

    assert read_again([f"--{name.replace('_', '-')}"]) == on
    for text, expected in (("1", on), ("true", on), ("0", Settings()), ("false", Settings()), ("", Settings())):
        monkeypatch.setenv(f"MULTIWORKER_{name.upper()}", text)
        assert read_again([]) == expected
    path = written(tmp_path, f"{name} = true")
    monkeypatch.setenv(f"MULTIWORKER_{name.upper()}", "0")
    assert read_again(["--config", path]) == Settings()
    monkeypatch.delenv(f"MULTIWORKER_{name.upper()}")
    assert read_again(["--config", path]) == on
    assert read_again(["--config", written(tmp_path, f"{name} = false")]) == Settings()


def test_command_line_beats_environment_beats_file_beats_default(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(
        "MULTIWORKER_CONFIG", written(tmp_path, 'procs = 2\nconcurrency = 2\nqueue = ["file"]\ngrace = 2')
    )
    monkeypatch.setenv("MULTIWORKER_CONCURRENCY", "3")
    monkeypatch.setenv("MULTIWORKER_QUEUE", "environment")

    settings = read_again(["--queue", "line"])

    assert (settings.procs, settings.concurrency, settings.queue, settings.grace) == (2, 3, ("line",), 2.0)
    assert settings.interval == Settings().interval


def test_redis_has_two_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://second")
    assert read_again([]).redis == "redis://second"
    monkeypatch.setenv("MULTIWORKER_REDIS", "redis://first")
    assert read_again([]).redis == "redis://first"


@pytest.mark.parametrize("name", REDIS_VARIABLES)
def test_redis_may_stand_in_a_file_that_a_variable_names(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    (tmp_path / "url").write_text(" redis://:s3cret@filed\n")
    monkeypatch.setenv(f"{name}_FILE", str(tmp_path / "url"))
    assert read_again([]).redis == "redis://:s3cret@filed"
    assert read_again(["--redis", "redis://line"]).redis == "redis://line"
    monkeypatch.setenv(name, "redis://itself")
    assert read_again([]).redis == "redis://itself"


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (None, "No such file or directory"),
        (b" \n", "one Redis URL"),
        (b"\xff s3cret", "not UTF-8"),
        (b"s3cret", "--redis is a URL"),
        (b"redis://:s3cret@host:port", "host or port"),
        (b"redis://:a@host\nredis://:s3cret@host", "one Redis URL"),
    ],
)
def test_a_bad_file_of_redis_is_one_line_without_its_content(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    content: bytes | None,
    what: str,
) -> None:
    path = tmp_path / "url"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setenv("REDIS_URL_FILE", str(path))

    assert run(["start"]) == Exit.USAGE
    line = assert_one_line(capsys, what)
    assert "s3cret" not in line
    assert str(path) in line or "REDIS_URL" in line


def test_several_values(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert read_again(["--queue", "a", "--queue", "b,c"]).queue == ("a", "b,c")
    assert read_again(["--config", written(tmp_path, 'queue = ["a", "b"]')]).queue == ("a", "b")
    monkeypatch.setenv("MULTIWORKER_QUEUE", "a, b ,,c")
    assert read_again([]).queue == ("a", "b", "c")


def test_numbers_in_the_file_need_no_quotes(tmp_path: Path) -> None:
    text = "procs = 2\nmax-payload = 4096\ntimeout = 1.5\ngrace = 3"
    settings = read_again(["--config", written(tmp_path, text)])

    assert (settings.procs, settings.max_payload, settings.timeout, settings.grace) == (2, 4096, 1.5, 3.0)


def test_the_file_and_the_environment_are_read_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    arguments = ["--config", written(tmp_path, "concurrency = 1"), "--procs", "2"]
    assert read_again(arguments) == Settings(concurrency=1, procs=2)

    written(tmp_path, "concurrency = 5\nprocs = 9")
    monkeypatch.setenv("MULTIWORKER_INTERVAL", "2")
    assert read_again(arguments) == Settings(concurrency=5, procs=2, interval=2.0)

    written(tmp_path, "concurrency = 0")
    with pytest.raises(SettingsError, match=r"multiworker start: --concurrency is 1 to 1000, not 0 \(from .*\.toml\)"):
        read_again(arguments)
    Path(arguments[1]).unlink()
    with pytest.raises(SettingsError, match="No such file"):
        read_again(arguments)


WRONG = [
    (["--procs", "0"], "--procs: the number of children is auto or 1-512, not '0'"),
    (["--concurrency", "5000"], "--concurrency is 1 to 1000, not 5000"),
    (["--concurrency", "2.5"], "--concurrency is a whole number, not '2.5'"),
    (["--timeout", "soon"], "--timeout is a number of seconds, not 'soon'"),
    (["--timeout", "nan"], "--timeout is 0.001 to"),
    (["--max-payload", "lots"], "--max-payload: a size is a number of bytes"),
    (["--log-level", "loud"], "--log-level: 'loud' is not one of"),
    (["--handler", "a b"], "--handler is MODULE or MODULE:FUNC, not 'a b'"),
    (["--queue", "a", "--queue", "a"], "--queue needs at least one name, each only once"),
    (["--queue", "a}b"], "--queue: braces in a queue's name"),
    (["--redis", "localhost"], "--redis is a URL that begins with"),
    (["--no-such-thing"], "No such option"),
    (["--procs"], "requires an argument"),
    (["stray"], "unexpected extra argument (stray)"),
    (["a\nb\x1b[2J"], "unexpected extra argument (a\\nb\\x1b[2J)"),
]


@pytest.mark.parametrize(
    ("arguments", "says"), WRONG, ids=lambda value: " ".join(value) if isinstance(value, list) else ""
)
def test_wrong_options_are_one_line_and_exit_64(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run(["start", *arguments])

    assert code == Exit.USAGE
    assert_one_line(capsys, "multiworker start: ", says, "; see multiworker start --help")


def assert_one_line(capsys: pytest.CaptureFixture[str], *parts: str) -> str:
    out, err = capsys.readouterr()
    assert out == ""
    assert err.endswith("\n")
    assert err.count("\n") == 1
    for part in parts:
        assert part in err
    return err


@pytest.mark.parametrize(
    ("name", "text"), [("CONCURRENCY", "x"), ("CONCURRENCY", "0"), ("PIN", "maybe"), ("REDIS", "x")]
)
def test_wrong_variables_are_named(
    name: str, text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(f"MULTIWORKER_{name}", text)

    assert run(["start"]) == Exit.USAGE
    assert_one_line(capsys, f"--{name.lower()}", f"(from MULTIWORKER_{name}")


WRONG_FILES = [
    ("procs = ", "not valid TOML"),
    ("procs = 0", "--procs: the number of children is auto or 1-512, not '0' (from {path})"),
    ("concurrency = 0", "--concurrency is 1 to 1000, not 0 (from {path})"),
    ("concurrency = 2.5", "--concurrency is a whole number, not '2.5' (from {path})"),
    ("concurency = 2", "{path}: unknown option 'concurency'"),
    ("config = 'x'", "{path}: unknown option 'config'"),
    ("procs = true", "{path}: procs is text or a number"),
    ("procs = [1]", "{path}: procs is text or a number"),
    ("procs = 2026-01-01", "{path}: procs is text or a number"),
    ("burst = 1", "{path}: burst is true or false"),
    ("burst = 'yes'", "{path}: burst is true or false"),
    ("queue = [true]", "{path}: queue is text or a number, or a list of them"),
    ("queue = {a = 1}", "{path}: queue is text or a number, or a list of them"),
    ("[multiworker]\nprocs = 1\n[other]\nx = 1", "{path}: 'other' stands outside of [multiworker]"),
    ("procs = 1\n[multiworker]\nprocs = 1", "{path}: 'procs' stands outside of [multiworker]"),
    ("multiworker = 1", "{path}: multiworker is a table"),
]


@pytest.mark.parametrize(("text", "says"), WRONG_FILES)
def test_wrong_files_are_named_and_exit_78(
    text: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, text)

    assert run(["start", "--config", path]) == Exit.CONFIG
    assert_one_line(capsys, "multiworker start: ", says.format(path=path))


@pytest.mark.parametrize("content", [None, b"\xff"])
def test_unreadable_files_exit_78(content: bytes | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.toml"
    if content:
        path.write_bytes(content)

    assert run(["start", "--config", str(path)]) == Exit.CONFIG
    assert_one_line(capsys, str(path))


def test_help_names_every_option_and_no_value_of_environment_or_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MULTIWORKER_REDIS", "redis://:s3cret@host")
    path = written(tmp_path, 'redis = "redis://:s3cret@host"\nqueue = "s3cret"\npidfile = "s3cret"')

    for arguments in (["--config", path, "--help"], ["--redis", "redis://:s3cret@host", "--help"]):
        assert run(["start", *arguments]) == Exit.OK
        out = capsys.readouterr().out
        assert all(f"--{name.replace('_', '-')}" in out for name in OPTION_NAMES)
        assert "s3cret" not in out


def test_help_shows_the_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    run(["start", "--help"])

    text = re.sub(r"\s+", " ", capsys.readouterr().out)
    for shown in ("auto", "20", "redis://localhost:6379/0", "async_tasks", "30", "256KiB", "info"):
        assert f"[default: {shown}]" in text


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS), ["queue", "ls"], ["dead", "requeue"]])
def test_every_command_has_help(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*command, "--help"]) == Exit.OK
    assert "Usage: multiworker" in capsys.readouterr().out
    assert run([*command, "-h"]) == Exit.OK


@pytest.mark.parametrize("command", [[], ["queue"], ["dead"]])
def test_no_command_shows_the_help_and_exits_64(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(command) == Exit.USAGE
    assert "Commands:" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["no-such"], ["queue", "no-such"], ["--no-such"]])
def test_an_unknown_command_is_one_line_and_exits_64(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(command) == Exit.USAGE
    assert_one_line(capsys, "No such", "--help")


SECRETS: list[Any] = [
    ["--redis", "redis://:s3cret@host:99999"],
    ["--redis", "redis://user:s3cret@host:port/0"],
    ["--redis", "redis:/:s3cret@host"],
    ["--redis", "http://:s3cret@host"],
    ["--redis=redis://:my s3cret@host:x"],
    ["redis://:s3cret@host"],
    ["redis://:my s3cret@host"],
    ["redis://host?password=s3cret"],
    ["redis://:p/s3cret@host"],
    ["--queue", "x", "redis://:a@s3cret@host"],
]


@pytest.mark.parametrize("arguments", SECRETS, ids=" ".join)
@pytest.mark.parametrize("command", [["start"], ["enqueue", "t", "1"], ["queue", "ls"], ["dead", "ls"]], ids=" ".join)
def test_errors_show_no_password(command: list[str], arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*command, *arguments]) == Exit.USAGE
    out, err = capsys.readouterr()
    assert "s3cret" not in out + err
    assert err.count("\n") == 1
