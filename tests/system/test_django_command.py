"""manage.py async_command and manage.py multiworker, as people run them: real processes, signals and exit codes."""

import json
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from multiworker.worker.errors import Exit
from tests.fix_redis import RedisServer
from tests.system.fix_site import Site
from tests.system.fix_system import PREFIX, QUEUE, Engine, command_line, until


@pytest.fixture
def locked_redis() -> Iterator[RedisServer]:
    """A server with a password."""
    server = RedisServer(Path(tempfile.mkdtemp(prefix="mw-")), "--requirepass", "hunter2")
    server.start()
    yield server
    server.stop()
    shutil.rmtree(server.directory)


def begun(site: Site) -> str:
    """What the parent says of children and tasks when it starts."""
    return site.engine.until_line("parent of")[0].partition("parent of ")[2]


def test_it_runs_what_the_apps_declare_and_the_catch_all_and_no_django_is_left_in_the_parent(site: Site) -> None:
    # given a manage.py that was called from elsewhere
    site.engine.open_gate()
    site.start("--procs", "2", procs=2, before="cd /")
    site.engine.push("found", 1)
    site.engine.push("quick", 2)
    # then tasks of both kinds run, and the process that was started is the parent, which never read the settings again
    site.engine.until_noted(2, "end")
    children = site.engine.ready()
    pids = site.importers()
    assert pids.count(site.engine.pid) == 1  # manage.py, before it became the parent
    assert set(children) <= set(pids)
    assert site.engine.stop() == Exit.OK


def test_a_parent_that_was_none_of_djangos_never_reads_the_settings(site: Site) -> None:
    site.engine.start(
        "--procs",
        "1",
        procs="1",
        wait=False,
        program=[*site.engine.command, "start", "--settings", "mysite.settings"],
    )
    site.engine.until_ready(1)
    site.engine.push("quick", 1)
    site.engine.until_noted(1, "end")
    site.engine.send(signal.SIGHUP)
    site.engine.until_ready(1, 2)
    assert site.engine.pid not in site.importers()
    assert len(site.importers()) == 4  # for each generation, one that asks and a child
    assert site.engine.stop() == Exit.OK


def test_its_own_defaults_count_least(site: Site) -> None:
    site.start()
    assert begun(site) == "1 children, 5 tasks each, queue async_tasks"
    assert site.engine.stop() == Exit.OK


def test_the_setting_counts_more_than_its_own_defaults(site: Site) -> None:
    site.set(CONCURRENCY=7, PROCS=2)
    site.start(procs=2)
    assert begun(site) == "2 children, 7 tasks each, queue async_tasks"
    assert site.engine.stop() == Exit.OK


def test_the_environment_and_options_count_more_than_the_setting(site: Site) -> None:
    site.set(CONCURRENCY=7, PROCS=2, QUEUE="mine", MAX_ATTEMPTS=4, TIMEOUT=9)
    site.engine.environment = {"MULTIWORKER_QUEUE": "variable", "MULTIWORKER_PROCS": "3"}
    site.start("--max-concurrent", "6", "--procs=1")
    assert begun(site) == "1 children, 6 tasks each, queue variable"
    assert site.engine.stop() == Exit.OK


@pytest.mark.parametrize("option", ["--redis-key=mine", "--queue=mine"])
def test_the_list_has_two_names(site: Site, option: str) -> None:
    site.start(option, "--max-workers", "2")
    assert begun(site) == "1 children, 2 tasks each, queue mine"
    assert site.engine.stop() == Exit.OK


def test_one_at_a_time_runs_in_the_order_of_the_list(site: Site) -> None:
    site.engine.push("quick", *range(300))
    site.start("--max-concurrent", "1", "--max-tasks", "300", wait=False)
    assert site.engine.finish() == Exit.OK
    noted = [(entry["event"], entry["n"]) for entry in _entries(site.engine)]
    assert noted == [(event, n) for n in range(300) for event in ("start", "end")]


def _entries(engine: Engine) -> list[dict[str, object]]:
    return [json.loads(line) for line in (engine.directory / "ledger.jsonl").read_text().splitlines()]


def test_max_tasks_is_exact_over_all_processes(site: Site) -> None:
    site.engine.push("quick", *range(50))
    site.start("--max-tasks", "23", "--procs", "3", wait=False)
    assert site.engine.finish() == Exit.OK
    assert site.engine.runs("end").total() == 23
    assert site.engine.left_in_redis() == {"queue": 27}


def test_ctrl_c_lets_what_runs_end_and_takes_nothing_more(site: Site) -> None:
    site.start("--max-concurrent", "2")
    site.engine.push("hold", 1, 2, 3)
    site.engine.until_noted(2)
    site.engine.send(signal.SIGINT)
    site.engine.until_line("SIGINT")
    site.engine.until_draining(1)
    site.engine.open_gate()
    assert site.engine.finish() == Exit.OK
    assert site.engine.runs("end") == {1: 1, 2: 1}
    assert site.engine.left_in_redis() == {"queue": 1}


def test_broken_payloads_and_failing_tasks_stop_nothing(site: Site) -> None:
    site.start("--max-attempts", "1")
    for payload in ("no json", b"\xff\xfe", '{"data": 1}', "[]"):
        site.engine.client.lpush(QUEUE, payload)
    site.engine.push("fail", 1, times=9)
    site.engine.push("quick", 2)
    site.engine.until_noted(1, "end")

    def reasons() -> list[str]:
        with redis.Redis.from_url(site.engine.url) as client:  # payloads are no text
            return sorted(letter[b"reason"].decode() for _, letter in client.xrange(PREFIX + "dead"))

    until(lambda: len(reasons()) == 5, "five dead letters", site.engine.text)
    assert reasons() == ["attempts exhausted", "no type", "not an object", "not json", "not utf-8"]
    assert len(site.engine.lines("not json")) == 1
    assert site.engine.stop() == Exit.OK


def test_while_redis_is_away_it_waits_also_at_the_first_start(private_redis: RedisServer, tmp_path: Path) -> None:
    site = Site(Engine(tmp_path, private_redis.url))
    try:
        private_redis.kill()
        site.start(wait=False)
        site.engine.until_line("waiting for Redis")
        private_redis.start()
        site.engine.until_ready(1)
        private_redis.kill()
        site.engine.until_line("ConnectionError", 2)
        private_redis.start()
        site.engine.push("quick", 1)
        site.engine.until_noted(1, "end")
        assert site.engine.stop() == Exit.OK
    finally:
        site.engine.close()


def test_hup_reads_the_setting_again_and_refuses_a_wrong_one_by_its_name(site: Site) -> None:
    site.start()
    site.set(QUEUE="other")
    site.engine.send(signal.SIGHUP)
    (child,) = site.engine.until_ready(1, 2)
    site.engine.client.lpush("other", json.dumps({"type": "quick", "data": {"n": 1}}))
    site.engine.until_noted(1, "end")
    site.set(QUEUE="other", CONCURRENCY=0)
    site.engine.send(signal.SIGHUP)
    (line,) = site.engine.until_line("reload refused")
    assert 'mysite.settings: MULTIWORKER["CONCURRENCY"] is 1 to 1000, not 0' in line
    assert site.engine.ready() == [child]
    assert site.engine.stop() == Exit.OK


@pytest.mark.parametrize(
    ("setting", "options", "code", "line"),
    [
        ({"CONCURRENCY": 0}, [], Exit.CONFIG, 'MULTIWORKER["CONCURRENCY"] is 1 to 1000, not 0'),
        ({"CONCURENCY": 1}, [], Exit.CONFIG, "MULTIWORKER has no key 'CONCURENCY'; did you mean \"CONCURRENCY\"?"),
        ({}, ["--max-concurrent", "0"], Exit.USAGE, "--max-concurrent is 1 to 1000, not 0"),
        ({}, ["--redis-key", "a}"], Exit.USAGE, "--redis-key: braces in a queue's name"),
        ({}, ["--nonsense"], Exit.USAGE, "No such option '--nonsense'"),
        ({"HANDLER": "no.such"}, [], Exit.CONFIG, "no.such: ModuleNotFoundError"),
    ],
)
def test_what_is_wrong_is_one_line_and_an_exit_code(
    site: Site, setting: dict[str, object], options: list[str], code: int, line: str
) -> None:
    site.set(**setting)
    found = site.call("async_command", *options)
    assert found.code == code
    assert line in found.err
    if "HANDLER" not in setting:
        assert len(found.err.splitlines()) == 1
        assert found.err.startswith("manage.py async_command: ")


def test_start_names_the_setting_and_the_module(site: Site) -> None:
    site.set(PROCS="many")
    site.engine.environment = {"PYTHONPATH": str(site.directory)}
    found = site.engine.call("start", "--settings", "mysite.settings")
    assert found.code == Exit.CONFIG
    assert found.err == (
        'multiworker start: mysite.settings: MULTIWORKER["PROCS"]: the number of children is auto or 1-512, '
        "not 'many'\n"
    )
    found = site.engine.call("start", "--settings", "no.such")
    assert found.code == Exit.CONFIG
    assert found.err == "multiworker start: no.such: ModuleNotFoundError: No module named 'no'\n"


@pytest.mark.parametrize("way", ["setting", "option"])
def test_no_password_gets_onto_a_command_line_or_into_the_log(
    locked_redis: RedisServer, tmp_path: Path, way: str
) -> None:
    # given a password in the setting, or one that the user typed
    secret = f"unix://:hunter2@{locked_redis.socket}"
    site = Site(Engine(tmp_path, secret))
    try:
        if way == "setting":
            site.start("--procs", "2", procs=2)
        else:
            site.set(REDIS="redis://nowhere")
            site.start("--procs", "2", "--redis", secret, procs=2)
        site.engine.push("quick", 1)
        site.engine.until_noted(1, "end")
        site.engine.send(signal.SIGHUP)
        site.engine.until_ready(2, 2)
        # then no process shows it
        assert not [pid for pid in site.engine.processes() if "hunter2" in command_line(pid)]
        assert site.engine.stop() == Exit.OK
        assert "hunter2" not in site.engine.text()
    finally:
        site.engine.close()


def test_every_other_command_speaks_to_the_projects_redis(site: Site) -> None:
    site.engine.environment = {"REDIS_URL": "redis://localhost:1"}
    sent = site.call("multiworker", "enqueue", "quick", '{"n": 1}')
    assert sent.code == Exit.OK, sent.err
    (waiting,) = json.loads(site.call("multiworker", "queue", "ls", "--json").out)
    assert (waiting["queue"], waiting["waiting"]) == (QUEUE, 1)
    site.set(QUEUE="other")
    (waiting,) = json.loads(site.call("multiworker", "queue", "ls", "--json", "--traceback").out)
    assert waiting["queue"] == "other"
    elsewhere = site.call("multiworker", "queue", "ls", "--settings", "no.such")
    assert elsewhere.code == 1  # Django's own
    assert "No module named 'no'" in elsewhere.err
    assert site.call("multiworker", "status").code == Exit.TEMPFAIL
    wrong = site.call("multiworker", "queue", "nonsense")
    assert (wrong.code, wrong.err) == (
        Exit.USAGE,
        "manage.py multiworker queue: No such command 'nonsense'; see manage.py multiworker queue --help\n",
    )
    site.set(REDIS="nonsense")
    wrong = site.call("multiworker", "queue", "ls")
    assert wrong.code == Exit.CONFIG
    assert wrong.err.startswith('manage.py multiworker: MULTIWORKER["REDIS"] is a URL that begins with')


def test_a_variable_of_multiworkers_own_counts_more_than_the_setting(site: Site) -> None:
    site.engine.environment = {"MULTIWORKER_REDIS": "redis://localhost:1", "MULTIWORKER_REDIS_WAIT": "0"}
    assert "redis://localhost:1" in site.call("multiworker", "queue", "ls").err
    assert site.call("async_command").code == Exit.UNAVAILABLE


def test_multiworker_start_becomes_the_parent_too(site: Site) -> None:
    site.engine.start("--procs", "1", procs="1", wait=False, program=[*site.manage, "multiworker", "start"])
    site.engine.until_ready(1)
    assert begun(site).startswith("1 children, 20 tasks each")
    assert site.importers().count(site.engine.pid) == 1
    assert site.call("multiworker", "status", "--json").code == Exit.OK
    assert site.engine.stop() == Exit.OK


@pytest.mark.parametrize("words", [["async_command", "--help"], ["help", "async_command"]])
def test_help_shows_its_options_and_those_of_start(site: Site, words: list[str]) -> None:
    shown = site.call(*words)
    assert shown.code == Exit.OK
    for option in (
        "--redis-key",
        "--max-concurrent",
        "--max-workers",
        "--batch-size",
        "--procs",
        "--grace",
        "--config",
    ):
        assert option in shown.out
    assert "[default: 5]" in shown.out


@pytest.mark.parametrize("words", [["multiworker", "--help"], ["help", "multiworker"]])
def test_help_shows_the_commands(site: Site, words: list[str]) -> None:
    shown = site.call(*words)
    assert shown.code == Exit.OK
    assert "manage.py multiworker" in shown.out
    assert "requeue" in site.call("multiworker", "dead", "--help").out


def test_code_may_call_it_and_goes_on_afterwards(site: Site) -> None:
    site.engine.push("quick", 1, 2, 3)
    code = (
        "from django.core.management import call_command as c\n"
        "c('async_command', max_tasks=2, redis_key=['async_tasks'])\n"
        "c('async_command', '--max-tasks=1'); c('multiworker', 'queue', 'ls'); print('went on')"
    )
    found = site.call("shell", "-v", "0", "-c", code)
    assert found.out.endswith("went on\n"), found.err
    assert site.engine.runs("end").total() == 3
    code = "from django.core.management import call_command as c; c('async_command', max_tasks=0)"
    assert site.call("shell", "-v", "0", "-c", code).code == Exit.USAGE


def test_it_is_told_apart_by_pid_as_supervisors_need_it(site: Site) -> None:
    site.start()
    board = site.engine.board()
    assert board
    assert os.path.basename(board.path).split(".")[-2] == str(site.engine.pid)  # noqa: PTH119 - a name alone
    assert site.engine.stop() == Exit.OK


def test_without_a_name_every_queue_of_the_backends_is_served(site: Site) -> None:
    backend = {"BACKEND": "multiworker.django.TaskBackend", "QUEUES": ["default", "mail", "slow"]}
    site.write(TASKS={"default": backend | {"OPTIONS": {"LISTS": {"slow": "snail"}}}})
    site.start()
    assert begun(site) == "1 children, 5 tasks each, queue async_tasks, mail, snail"
    site.engine.client.lpush("snail", json.dumps({"type": "quick", "data": {"n": 1}}))
    site.engine.until_noted(1, "end")
    shown = json.loads(site.call("multiworker", "queue", "ls", "--json").out)
    assert [queue["queue"] for queue in shown] == [QUEUE, "mail", "snail"]
    assert site.call("multiworker", "enqueue", "quick", '{"n": 2}').code == Exit.OK  # one queue: async_tasks
    site.engine.until_noted(2, "end")
    site.set(QUEUE="mine")
    site.engine.send(signal.SIGHUP)
    site.engine.until_ready(1, 2)
    site.engine.client.lpush("mine", json.dumps({"type": "quick", "data": {"n": 3}}))
    site.engine.until_noted(3, "end")
    site.write(TASKS={"default": backend | {"OPTIONS": {"LITS": {}}}})
    site.set()
    site.engine.send(signal.SIGHUP)
    (line,) = site.engine.until_line("reload refused")
    assert 'TASKS["default"]["OPTIONS"] has no key \'LITS\'; did you mean "LISTS"?' in line
    assert site.engine.stop() == Exit.OK
