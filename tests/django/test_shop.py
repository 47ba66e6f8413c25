"""examples/shop: the project that newcomers start with, and its commands."""

import importlib.util
import json
import os
import re
import signal
import sys
import urllib.request
from collections import Counter
from contextlib import closing
from pathlib import Path
from types import ModuleType

import pytest
import redis

from multiworker.worker.client import Client
from multiworker.worker.errors import Exit
from multiworker.worker.operate import Filter, Operator
from tests.django.fix_shop import SHOP, Shop
from tests.fix_topology import free_ports
from tests.system.fix_system import PREFIX, QUEUE, answer, until

LOAD = {"fast_task": 3, "medium_task": 2, "slow_task": 2}


def load_module() -> ModuleType:
    """Import the module of the sample load, which needs nothing else of the project."""
    spec = importlib.util.spec_from_file_location("shop_load", SHOP / "orders" / "load.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def waiting(client: redis.Redis) -> Counter[str]:
    """Return how many tasks of each type wait in the list."""
    return Counter(json.loads(payload)["type"] for payload in client.lrange(QUEUE, 0, -1))


def letters(url: str) -> list[tuple[str, str]]:
    """Return type and reason of each dead letter."""
    with closing(Client(url)) as client:
        return [
            ((letter.task or {})["type"], letter.reason) for letter in Operator(client.ask, QUEUE).letters(Filter())
        ]


# The project


def test_the_project_is_in_order_and_has_all_its_migrations(shop: Shop) -> None:
    shop.manage_well("check")
    shop.manage_well("makemigrations", "--check", "--dry-run")


def test_every_sample_task_does_what_it_should(shop: Shop, redis_url: str) -> None:
    # given the sample tasks and a worker
    shop.manage_well("add_tasks")
    worker = shop.start_worker()
    # when the queue has run empty
    assert shop.manage("watch_queue", "--timeout=60").code == 0, shop.log()
    # then orders that were paid in time are paid, the other one is cancelled, and the file's order is there
    statuses = Counter(status for (status,) in shop.rows("SELECT status FROM orders_order"))
    assert statuses == {"paid": 2, "cancelled": 1, "placed": 1}
    assert shop.rows("SELECT email, amount FROM orders_order WHERE number = 'from-file-1'") == [
        ("user@example.com", 12.5)
    ]
    # and every mail is sent
    to = Counter(re.findall(r"^To: (.*)$", "\n".join(shop.mails()), re.MULTILINE))
    assert to == {f"user{number}@example.com": 1 for number in range(1, 6)} | {"customer@example.com": 3}
    # and what has no handler went to the catch-all, and nothing became a dead letter
    assert "no handler for tasks of type 'send_fax'" in shop.log()
    assert letters(redis_url) == []
    worker.send_signal(signal.SIGTERM)
    assert worker.wait() == 0, shop.log()


HOSTILE = [
    ("file_process", {"name": "../outside.csv"}),
    ("file_process", {"name": "%s/outside.csv"}),
    ("file_process", {"name": "missing.csv"}),
    ("file_process", None),
    ("email", {"to": "a@example.com\nBcc: b@example.com"}),
    ("email", {"to": "a@example.com", "subject": "a\nBcc: b@example.com"}),
    ("email", ["a@example.com"]),
]


def test_hostile_data_is_rejected(shop: Shop, redis_client: redis.Redis, redis_url: str) -> None:
    # given a file that could be processed if it were in the inbox, and somebody who wants that
    (shop.data / "inbox").mkdir()
    (shop.data / "outside.csv").write_text("number,email,amount\noutside-1,user@example.com,1\n")
    payloads = [json.dumps({"type": kind, "data": data}).replace("%s", str(shop.data)) for kind, data in HOSTILE]
    redis_client.lpush(QUEUE, *payloads)
    # when a worker takes that, then nothing comes of it
    shop.start_worker()
    until(lambda: len(letters(redis_url)) == len(HOSTILE), "dead letters", shop.log)
    assert Counter(letters(redis_url)) == Counter((kind, "rejected") for kind, _ in HOSTILE)
    assert not any(shop.mails())
    assert not shop.rows("SELECT * FROM orders_order")


# add_tasks


def test_add_tasks_adds_tasks_of_every_type(shop: Shop, redis_client: redis.Redis) -> None:
    said = shop.manage_well("add_tasks")
    kinds = waiting(redis_client)
    assert {**LOAD, "email": 5, "file_process": 1, "send_fax": 1}.items() <= kinds.items()
    assert kinds["orders.tasks.send_receipt"] == 3
    assert "14 tasks were added to async_tasks\n3 orders were placed" in said


def test_add_tasks_adds_what_is_named_as_often_as_asked(shop: Shop, redis_client: redis.Redis) -> None:
    said = shop.manage_well(
        "add_tasks", "email", "fast_task", "--count=3", '--data={"to": "a@example.com"}', "--queue=q"
    )
    assert said == "6 tasks were added to q\n"
    payloads = [json.loads(payload) for payload in redis_client.lrange("q", 0, -1)]
    assert Counter(payload["type"] for payload in payloads) == {"email": 3, "fast_task": 3}
    assert all(payload["data"] == {"to": "a@example.com"} for payload in payloads)
    assert not shop.rows("SELECT * FROM orders_order")


@pytest.mark.parametrize("options", [["--count=0"], ["--count=x"], ["email", "--data={"]])
def test_add_tasks_refuses_what_makes_no_sense(shop: Shop, redis_client: redis.Redis, options: list[str]) -> None:
    said = shop.manage("add_tasks", *options)
    assert said.code == 2
    assert "error: argument" in said.err
    assert "Traceback" not in said.err
    assert not redis_client.keys()


# clear_queue


def test_clear_queue_deletes_what_waits_and_what_is_put_off(shop: Shop, redis_client: redis.Redis) -> None:
    redis_client.lpush(QUEUE, *[json.dumps({"type": "email"})] * 3)
    redis_client.zadd(PREFIX + "scheduled", {b'a 1 0\n{"type": "email"}': 2**50})
    assert shop.manage_well("clear_queue", "--yes") == "4 tasks were deleted from async_tasks\n"
    assert not redis_client.llen(QUEUE)
    assert not redis_client.zcard(PREFIX + "scheduled")


def test_clear_queue_asks_first(shop: Shop, redis_client: redis.Redis) -> None:
    redis_client.lpush(QUEUE, json.dumps({"type": "email"}))
    # nobody is there
    said = shop.manage("clear_queue")
    assert (said.code, said.out) == (Exit.USAGE, "")
    assert said.err == "CommandError: nobody is there to confirm: add --yes\n"
    # the answer is no
    code, shown = shop.on_terminal("clear_queue", typed="\n")
    assert code == 1
    assert "Delete all tasks that wait or are put off in async_tasks? [y/N]" in shown
    assert "nothing was deleted" in shown
    assert redis_client.llen(QUEUE) == 1
    # the answer is yes
    code, shown = shop.on_terminal("clear_queue", typed="y\n")
    assert (code, redis_client.llen(QUEUE)) == (0, 0)
    assert "1 task was deleted" in shown


# watch_queue


def test_watch_queue_shows_lines_until_the_queue_is_empty(shop: Shop, redis_client: redis.Redis) -> None:
    # given tasks that nobody takes yet
    shop.manage_well("add_tasks", "fast_task", "--count=30")
    watching = shop.begin(sys.executable, "-u", "manage.py", "watch_queue")
    assert watching.stdout
    assert watching.stderr
    first = watching.stdout.readline()
    assert re.match(r" *0\.0 s +30 left \(0 running, 0 put off\) +0 done\n", first)
    assert "no worker takes from this queue yet" in watching.stderr.readline()
    # when a worker does
    shop.start_worker()
    # then the last line shows it empty, all were counted, and the command ends by itself
    said = answer(watching)
    assert (said.code, said.err) == (0, "")
    assert re.fullmatch(r" *\d+\.\d s +0 left \(0 running, 0 put off\) +30 done +\d+\.\d/s", said.out.splitlines()[-1])


def test_watch_queue_changes_one_line_on_a_terminal(shop: Shop) -> None:
    shop.manage_well("add_tasks", "fast_task", "--count=30")
    shop.start_worker()
    code, shown = shop.on_terminal("watch_queue")
    assert code == 0
    *before, last = shown.replace("no worker takes", "\r\x1b[Kno worker takes").split("\r\x1b[K")[1:]
    assert len(before) >= 2
    assert "\n" not in "".join(line for line in before if "no worker" not in line)
    assert re.search(r" 0 left .* 30 done", last)
    assert last.endswith("\r\n")


def test_watch_queue_gives_up_when_told_to(shop: Shop, redis_client: redis.Redis) -> None:
    redis_client.lpush(QUEUE, json.dumps({"type": "email"}))
    said = shop.manage("watch_queue", "--timeout=0.3")
    assert said.code == 1
    assert said.err.endswith("CommandError: 1 tasks are left after 0.3 s\n")


def test_watch_queue_of_an_empty_queue_ends_at_once(shop: Shop) -> None:
    assert re.fullmatch(r" *0\.0 s +0 left \(0 running, 0 put off\) +0 done\n", shop.manage_well("watch_queue"))


@pytest.mark.parametrize("command", [["watch_queue"], ["clear_queue", "--yes"], ["add_tasks", "email"]])
def test_commands_say_in_one_line_that_redis_is_away(bare_shop: Shop, command: list[str]) -> None:
    said = bare_shop.manage(*command)
    assert (said.code, said.out) == (Exit.UNAVAILABLE, "")
    assert re.fullmatch(r"CommandError: .*redis.sock.*manage\.py async_command\n", said.err)


# compare


@pytest.mark.parametrize(("permits", "seconds"), [(1, 7.5), (5, 2.5), (7, 2.0), (100, 2.0)])
def test_what_the_load_takes_at_best(permits: int, seconds: float) -> None:
    assert load_module().ideal(permits) == seconds


def figures(said: str) -> dict[int, tuple[float, float]]:
    """Return tasks at once -> time and speed-up."""
    rows = re.findall(r"^ +(\d+) +(\d+\.\d\d) s +\d+\.\d\d s +(\d+\.\d\d) x$", said, re.MULTILINE)
    return {int(permits): (float(seconds), float(ratio)) for permits, seconds, ratio in rows}


def test_compare_runs_the_load_on_a_queue_of_its_own(shop: Shop, redis_client: redis.Redis) -> None:
    # given a task of somebody else's
    redis_client.lpush(QUEUE, json.dumps({"type": "email", "data": {"to": "a@example.com"}}))
    # when serial and concurrent are compared
    found = figures(shop.manage_well("compare", "--concurrency=7"))
    # then both times are real, and so is the ratio
    assert list(found) == [1, 7]
    (serial, one), (concurrent, ratio) = found.values()
    assert serial >= 7.5
    assert concurrent >= 2.0
    assert one == 1
    assert ratio == pytest.approx(serial / concurrent, abs=0.05)
    # and the other task was not touched, and nothing is left of the queue but what expires by itself
    assert waiting(redis_client) == {"email": 1}
    assert all(redis_client.ttl(key) > 0 for key in redis_client.keys("*compare*"))
    assert not shop.processes()


def test_compare_needs_no_redis_of_the_projects(bare_shop: Shop, tmp_path: Path) -> None:
    found = figures(bare_shop.manage_well("compare", "--concurrency=5"))
    assert list(found) == [1, 5]
    assert not bare_shop.processes()
    assert not list(tmp_path.glob("shop-*"))


def test_compare_shows_why_a_worker_does_not_start(shop: Shop) -> None:
    shop.environment["MULTIWORKER_CONCURRENCY"] = "1"
    shop.environment["MULTIWORKER_GRACE"] = "never"
    said = shop.manage("compare")
    assert said.code == Exit.UNAVAILABLE
    assert "CommandError: the worker ended with exit code 64; its log ends:" in said.err
    assert "MULTIWORKER_GRACE" in said.err


# run


def test_one_command_shows_all_of_it(bare_shop: Shop) -> None:
    bare_shop.environment["VENV"] = Path(sys.executable).parents[1].name
    said = answer(bare_shop.begin("./run", "--once"))
    assert said.code == 0, said
    assert "children ready" in said.out
    assert " 0 left (0 running, 0 put off)" in said.out
    assert Counter(status for (status,) in bare_shop.rows("SELECT status FROM orders_order"))["paid"] == 2
    assert "adds up" in (bare_shop.data / "worker.log").read_text()
    assert not bare_shop.processes()


def test_one_command_serves_the_pages_until_ctrl_c(bare_shop: Shop) -> None:
    # given a shop that serves its pages, with the sample tasks done
    (port,) = free_ports(1)
    bare_shop.environment |= {"VENV": Path(sys.executable).parents[1].name, "PORT": str(port), "PYTHONUNBUFFERED": "1"}
    with bare_shop.log_file.open("wb") as log:
        running = bare_shop.begin("./run", stdout=log, stderr=log)
    until(lambda: "Quit the server with" in bare_shop.log(), "the pages", bare_shop.log)
    # when somebody looks, then the admin is there
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=30) as page:
        assert page.url.endswith("/admin/login/?next=/admin/")
    # and Ctrl-C, which everybody on the terminal hears, ends everything in order
    os.killpg(running.pid, signal.SIGINT)
    until(lambda: not bare_shop.processes(), "the end of all processes", bare_shop.log)
    running.wait()
    assert "adds up" in (bare_shop.data / "worker.log").read_text()
