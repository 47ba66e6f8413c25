"""Hostile payloads and misbehaving handlers, with real processes: a child lives or is replaced, and others go on."""

import json
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import redis

from multiworker.worker.errors import Reason
from multiworker.worker.settings import Settings
from tests.payloads import CANARY, HOSTILE, KIB
from tests.system.fix_system import PREFIX, QUEUE, Engine, until

LIMIT = Settings().max_payload
MIB = KIB * KIB
NO_CATCH_ALL = """
import sys
from multiworker.cli import main
sys.argv = ["h" if argument == "h:run" else argument for argument in sys.argv]
main()
"""
ERRORS = (
    *("huge", "unprintable", "cyclic", "SystemExit", "KeyboardInterrupt", "GeneratorExit", "CancelledError"),
    *("StopIteration", "MemoryError", "RecursionError", "surrogate"),
)
HANDLERS = """
import asyncio
import os
import signal
import threading

import multiworker


class Unprintable(Exception):
    def __str__(self):
        raise SystemExit(3)


def circle():
    one, two = ValueError("one"), ValueError("two")
    one.__cause__, two.__cause__ = two, one
    return one


ERRORS = {
    "huge": lambda: ValueError("x" * 100 * 1024 * 1024),
    "unprintable": Unprintable,
    "cyclic": circle,
    "SystemExit": lambda: SystemExit(0),
    "KeyboardInterrupt": KeyboardInterrupt,
    "GeneratorExit": GeneratorExit,
    "CancelledError": asyncio.CancelledError,
    "StopIteration": StopIteration,
    "MemoryError": MemoryError,
    "RecursionError": RecursionError,
    "surrogate": lambda: ValueError("\\ud800\\x1b[2J\\u202e\\n"),
}
KEPT = []


@multiworker.handler("ok")
async def ok(data):
    note("start", data["n"])
    note("end", data["n"])


async def sleep_on():
    await asyncio.sleep(3600)


async def do_raise(data):
    await asyncio.sleep(0)
    raise ERRORS[data["error"]]()


@multiworker.handler("raise in thread", max_attempts=1)
def raise_in_thread(data):
    raise ERRORS[data["error"]]()


async def do_close(data):
    os.closerange(0, 11)
    await asyncio.sleep(0.01)


async def do_chdir(data):
    os.chdir("/")


async def do_signals(data):
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGURG, signal.SIGCHLD, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)


async def do_tasks(data):
    KEPT.extend(asyncio.ensure_future(sleep_on()) for _ in range(10_000))


async def do_files(data):
    KEPT.extend(os.open("/dev/null", os.O_RDONLY) for _ in range(500))


async def do_threads(data):
    for _ in range(50):
        threading.Thread(target=threading.Event().wait, daemon=True).start()


async def do_loop(data):
    asyncio.get_running_loop().stop()


async def do_cancel(data):
    for task in asyncio.all_tasks():
        if task is not asyncio.current_task():
            task.cancel()
"""


@pytest.fixture
def hostile(engine: Engine) -> Engine:
    """An engine whose handlers misbehave as told, besides those that it has."""
    path = engine.directory / "h.py"
    path.write_text(path.read_text() + HANDLERS)
    return engine


def memory(pid: int, field: str) -> int:
    """Return bytes of a process's memory, such as its peak (VmHWM)."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(rf"{field}:\s+(\d+) kB", text)[1]) * KIB  # type: ignore[index]


def letters(engine: Engine) -> list[dict[bytes, bytes]]:
    """Return the dead letters in bytes, for these are no text."""
    with redis.Redis.from_url(engine.url) as client:
        found: Any = client.xrange(PREFIX + "dead")
    return [fields for _, fields in found]


def test_a_child_takes_every_hostile_payload_in_and_lives(hostile: Engine) -> None:
    # given one child without a catch-all, and all hostile payloads among good tasks
    hostile.command = [sys.executable, "-c", NO_CATCH_ALL]
    hostile.start(procs=1)
    (child,) = hostile.until_ready(1)
    raw = [payload for _, payload in HOSTILE.values()]
    for n, payload in enumerate(raw):
        hostile.client.lpush(QUEUE, payload, json.dumps({"type": "ok", "data": {"n": n}}))
    # when they were taken
    hostile.until_noted(len(raw), "end")
    until(lambda: hostile.client.xlen(PREFIX + "dead") == len(raw), "all dead letters", hostile.text)
    # then every good one was run once by the one child, which lives
    assert hostile.until_ready(1) == [child]
    assert hostile.runs("end") == dict.fromkeys(range(len(raw)), 1)
    # and each other one has its reason and its bytes
    expected = Counter(
        (Reason.TOO_LARGE if len(payload) > LIMIT else reason, payload if len(payload) <= MIB else payload[:4096])
        for reason, payload in HOSTILE.values()
    )
    assert Counter((letter[b"reason"].decode(), letter[b"payload"]) for letter in letters(hostile)) == expected
    assert not (hostile.directory / CANARY).exists()
    assert hostile.stop() == 0
    # and one line in the log that no terminal obeys
    assert len(hostile.lines("task dead-lettered")) + sum(LIMIT < len(one) <= MIB for one in raw) == len(raw)
    assert all(line.isprintable() for line in hostile.text().splitlines())


def test_what_is_too_large_takes_no_memory_of_a_child(engine: Engine) -> None:
    # given elements that are larger than a child takes, one of them valid JSON
    engine.client.lpush(QUEUE, b'{"type":"quick","data":"' + b"x" * 64 * MIB + b'"}', b"\xff" * 16 * MIB)
    # when it takes them
    engine.start(procs=1)
    (child,) = engine.until_ready(1)
    until(lambda: len(letters(engine)) == 2, "the dead letters", engine.text)
    # then it has hashed them in pieces
    assert memory(child, "VmHWM") - memory(engine.pid, "VmRSS") < 32 * MIB
    assert engine.until_ready(1) == [child]
    assert engine.stop() == 0


def test_a_full_queue_of_large_tasks_takes_bounded_memory(engine: Engine) -> None:
    # given far more bytes of tasks than a child may hold
    task = b'{"type":"quick","data":{"n":1,"text":"' + b"x" * 255 * KIB + b'"}}'
    for _ in range(30):
        engine.client.lpush(QUEUE, *[task] * 10)
    # when a child takes them
    engine.start("--concurrency", "20", procs=1)
    (child,) = engine.until_ready(1)
    engine.until_noted(300, "end")
    # then it has never held more than twenty, and let go of each as it ended
    assert memory(child, "VmHWM") - memory(engine.pid, "VmRSS") < 48 * MIB
    assert engine.stop() == 0


HARMLESS = [f"raise {error}" for error in ERRORS] + ["chdir", "signals", "tasks", "files", "threads"]


@pytest.mark.parametrize("deed", HARMLESS)
def test_a_child_survives_what_a_handler_does(hostile: Engine, deed: str) -> None:
    # given two children at work
    hostile.start("--max-attempts", "1", "--concurrency", "5", "--grace", "1", procs=2)
    children = hostile.until_ready(2)
    kind, _, error = deed.partition(" ")
    # when handlers misbehave among good ones
    hostile.push("quick", *range(20), seconds=0.01)
    hostile.push(kind, 1000, error=error)
    if error:
        hostile.push("raise in thread", 1001, error=error)
    hostile.push("quick", *range(20, 40), seconds=0.01)
    hostile.until_noted(40 + (not error), "end")
    until(lambda: len(hostile.dead_letters()) == 2 * bool(error), "the dead letters", hostile.text)
    # then the good ones have run once, and the children go on
    hostile.push("quick", *range(40, 60))
    hostile.until_noted(60 + (not error), "end")
    assert hostile.until_ready(2) == children
    assert set(hostile.runs("end").values()) == {1}
    # and the dead letters say why, in bounds
    assert all(letter["reason"] == "attempts exhausted" for letter in hostile.dead_letters())
    assert all(len(letter["detail"].encode()) <= 2048 for letter in hostile.dead_letters())
    assert all(line.isprintable() for line in hostile.text().splitlines())
    assert hostile.stop() == 0


@pytest.mark.parametrize("deed", ["close", "loop", "cancel"])
def test_a_child_that_a_handler_breaks_is_replaced(hostile: Engine, deed: str) -> None:
    # given two children at work
    hostile.start("--concurrency", "5", "--stuck-timeout", "2", procs=2)
    # when a handler takes its child's files, loop or tasks away
    hostile.push("quick", *range(20), seconds=0.01)
    hostile.push(deed, 1000)
    hostile.push("quick", *range(20, 40), seconds=0.01)
    # then the good ones have run, and it has, or is the only dead letter
    until(lambda: not hostile.left_in_redis(), "the end of all tasks", hostile.text)
    assert set(hostile.runs("end")) - {1000} == set(range(40))
    assert [letter["reason"] for letter in hostile.dead_letters()] in ([], ["crashed"])
    assert hostile.lines("died: ")
    assert all('"n": 1000' in letter["payload"] for letter in hostile.dead_letters())
    # and there are two children that work
    hostile.until_ready(2)
    hostile.push("quick", *range(40, 60))
    until(lambda: set(hostile.runs("end")) >= set(range(60)), "more good tasks", hostile.text)
    assert hostile.stop() == 0
