"""Commands that talk to Redis, in this process; tests/system has what takes a process of its own."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis

from multiworker.cli.root import run
from multiworker.worker.client import Client
from multiworker.worker.client.encode import CHUNK
from multiworker.worker.errors import Exit, Reason
from tests.broker.dying import KEYS, Ask, Worker, bury_many

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def multiworker(redis_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command; returns exit code, standard output and standard error."""
    for name in [name for name in os.environ if name.startswith("MULTIWORKER_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("MULTIWORKER_REDIS", redis_url)

    def call(*arguments: str) -> tuple[int, str, str]:
        code = run(arguments)
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return code, out, err

    return call


def taken(redis_client: redis.Redis, queue: str = "async_tasks") -> list[bytes]:
    elements: Any = redis_client.lrange(queue, 0, -1)
    return list(reversed(elements))


def test_enqueue_prints_the_id(multiworker: Run, redis_client: redis.Redis) -> None:
    code, out, err = multiworker("enqueue", "email", '{"to": "x", "price": 1.10}')

    assert (code, err) == (0, "")
    (payload,) = taken(redis_client)
    assert json.loads(payload) == {"id": out.strip(), "type": "email", "data": {"to": "x", "price": 1.1}}
    assert b"1.10" in payload


def test_enqueue_with_all_options(multiworker: Run, redis_client: redis.Redis) -> None:
    assert multiworker("enqueue", "email", "--id", "mine", "--queue", "other") == (0, "mine\n", "")
    assert taken(redis_client, "other") == [b'{"id":"mine","type":"email"}']

    assert multiworker("enqueue", "email", "null", "--delay", "60")[0] == 0
    assert redis_client.zcard(KEYS.scheduled) == 1


def test_enqueue_with_a_priority(
    multiworker: Run, client: Client, redis_client: redis.Redis, as_worker: Ask, tmp_path: Path
) -> None:
    assert multiworker("enqueue", "low", "--id", "l", "--priority", "-100")[0] == 0
    assert multiworker("enqueue", "plain", "--id", "p", "--priority", "0")[0] == 0
    assert multiworker("enqueue", "later", "--id", "x", "--priority", "3", "--delay", "60")[0] == 0
    path = written(tmp_path, '{"type":"one","id":"1"}', '{"type":"two","id":"2","priority":99}')
    assert multiworker("enqueue", "--file", path, "--priority", "7") == (0, "2 tasks sent\n", "")

    code, out, _ = multiworker("queue", "peek")
    assert (code, out.splitlines()) == (
        0,
        [
            'priority 7: {"type":"one","id":"1"}',
            'priority 7: {"type":"two","id":"2","priority":99}',
            '{"id":"p","type":"plain"}',
            'priority -100: {"id":"l","type":"low"}',
        ],
    )
    shown = json.loads(multiworker("queue", "peek", "--json")[1])
    assert [task["priority"] for task in shown] == [7, 7, 0, -100]
    (depths,) = json.loads(multiworker("queue", "ls", "--json")[1])
    assert (depths["waiting"], depths["priority"], depths["scheduled"]) == (1, 3, 1)
    assert [frame.id for _, frame in Worker(as_worker).claim(9)] == ["1", "2", "w.1.3", "l"]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ("hello", "a string needs its own quotes"),
        ("", "not one JSON text"),
        ('1},{"a":1', "not one JSON text"),
        ('1,"type":"other"', "not one JSON text"),
        ("NaN", "not one JSON text"),
        ("\udcff", "not one JSON text"),
        ('{"a":1,"a":2}', "duplicate key"),
        ("[" * 100_000, "too deep"),
        ("[" * 40 + "]" * 40, "too deep"),
        ('"' + "x" * 300_000 + '"', "too large"),
    ],
)
def test_enqueue_refuses_what_a_worker_would(multiworker: Run, redis_client: redis.Redis, data: str, says: str) -> None:
    code, out, err = multiworker("enqueue", "email", data)

    assert (code, out) == (os.EX_DATAERR, "")
    assert says in err
    assert err.count("\n") == 1
    assert redis_client.dbsize() == 0


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["enqueue"], Exit.USAGE),
        (["enqueue", "t", "1", "2"], Exit.USAGE),
        (["enqueue", "t", "--file", "x"], Exit.USAGE),
        (["enqueue", "--file", "-", "--id", "x"], Exit.USAGE),
        (["enqueue", "t", "--id", "a\nb"], Exit.USAGE),
        (["enqueue", "t", "--delay", "-1"], Exit.USAGE),
        (["enqueue", "t", "--delay", "nan"], Exit.USAGE),
        (["enqueue", "t", "--delay", "soon"], Exit.USAGE),
        (["enqueue", "t", "--priority", "101"], Exit.USAGE),
        (["enqueue", "t", "--priority", "1.5"], Exit.USAGE),
        (["enqueue", "--file", "/dev/null", "--priority", "-101"], Exit.USAGE),
        (["enqueue", "t", "--queue", "a", "--queue", "b"], Exit.USAGE),
        (["enqueue", "a\nb"], os.EX_DATAERR),
        (["enqueue", "--file", "/no/such/file"], os.EX_NOINPUT),
        (["enqueue", "--file", "/"], os.EX_NOINPUT),
        (["queue", "peek", "--limit", "0"], Exit.USAGE),
        (["queue", "peek", "--queue", "a", "--queue", "b"], Exit.USAGE),
        (["queue", "purge"], Exit.USAGE),
        (["dead", "discard", "--all"], Exit.USAGE),
        (["dead", "discard", "--type", "t"], Exit.USAGE),
        (["dead", "requeue"], Exit.USAGE),
        (["dead", "requeue", "1-1", "--all"], Exit.USAGE),
        (["dead", "requeue", "--all", "--type", "t"], Exit.USAGE),
        (["dead", "ls", "--reason", "whim"], Exit.USAGE),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_use_is_one_line_and_changes_nothing(
    multiworker: Run, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int
) -> None:
    redis_client.lpush("async_tasks", "x")

    result, out, err = multiworker(*arguments)

    assert (result, out) == (code, "")
    assert err.count("\n") == 1
    assert err.startswith("multiworker ")
    assert redis_client.dbsize() == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["enqueue", "t"],
        ["queue", "ls"],
        ["queue", "peek"],
        ["queue", "purge", "--yes"],
        ["dead", "ls"],
        ["dead", "show", "1-1"],
        ["dead", "requeue", "--all"],
        ["dead", "discard", "1-1"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("url", ["redis://:s3cret@localhost:1/0", "unix:///no/such?password=s3cret"])
def test_unreachable_redis_is_one_line_and_exits_69(multiworker: Run, arguments: list[str], url: str) -> None:
    code, out, err = multiworker(*arguments, "--redis", url)

    assert (code, out) == (Exit.UNAVAILABLE, "")
    assert err.count("\n") == 1
    assert err.startswith(f"multiworker {' '.join(arguments[: 1 if arguments[0] == 'enqueue' else 2])}: Redis at ")
    assert "s3cret" not in err


def test_redis_and_queue_can_come_from_the_file(
    multiworker: Run, redis_client: redis.Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("MULTIWORKER_REDIS")
    (tmp_path / "c.toml").write_text(f'redis = "{redis_url}"\nqueue = "filed"\nprocs = 3\nmax-payload = 100')

    assert multiworker("enqueue", "t", "--config", str(tmp_path / "c.toml"))[0] == 0
    assert len(taken(redis_client, "filed")) == 1

    (tmp_path / "c.toml").write_text('queue = ["a", "b"]')
    assert multiworker("enqueue", "t", "--config", str(tmp_path / "c.toml"))[0] == Exit.CONFIG


def written(tmp_path: Path, *lines: str) -> str:
    path = tmp_path / "tasks.jsonl"
    path.write_text("\n".join(lines), "utf-8", "surrogateescape")
    return str(path)


def test_a_file_is_sent_in_order_and_as_it_is(multiworker: Run, redis_client: redis.Redis, tmp_path: Path) -> None:
    lines = ['{"type":"a","data":1.10,"trace":"x"}', "", '  {"id":"mine","type":"b"}\r', ' {"type": "\u00e9"} ']

    assert multiworker("enqueue", "--file", written(tmp_path, *lines)) == (0, "3 tasks sent\n", "")

    first, second, third = taken(redis_client)
    assert first.endswith(b',"type":"a","data":1.10,"trace":"x"}')
    assert len(json.loads(first)["id"]) == 32
    assert second == b'{"id":"mine","type":"b"}'
    assert json.loads(third)["type"] == "\u00e9"


def test_a_long_file_goes_in_chunks(multiworker: Run, redis_client: redis.Redis, tmp_path: Path) -> None:
    path = written(tmp_path, *(f'{{"type":"t","data":{number}}}' for number in range(10 * CHUNK)), "")
    redis_client.config_resetstat()

    assert multiworker("enqueue", "--file", path, "--delay", "0")[1] == "10000 tasks sent\n"

    assert [json.loads(payload)["data"] for payload in taken(redis_client)] == list(range(10 * CHUNK))
    stats: Any = redis_client.info("commandstats")
    assert stats["cmdstat_lpush"]["calls"] == 10


BAD = [
    "nonsense",
    "[]",
    '{"data":1}',
    '{"type":7}',
    '{"type":"t","type":"t"}',
    '{"type":"t","id":7}',
    '{"type":"t","id":null}',
    '{"type":"t","id":"a\\nb"}',
    '{"type":"t","data":NaN}',
    '{"type":"t","data":"' + "x" * 300_000 + '"}',
    "x" * 3_000_000,
    "\udcff",
]


def test_bad_lines_are_named_and_nothing_is_sent(multiworker: Run, redis_client: redis.Redis, tmp_path: Path) -> None:
    good = '{"type":"t"}'
    path = written(tmp_path, good, *BAD, good)

    code, out, err = multiworker("enqueue", "--file", path)

    assert (code, out) == (os.EX_DATAERR, "")
    assert [line.split(":")[0] for line in err.splitlines()] == [
        *(f"line {number + 2}" for number in range(len(BAD))),
        "multiworker enqueue",
    ]
    assert f"{len(BAD)} bad lines, so nothing was sent" in err
    assert max(map(len, err.splitlines())) < 300
    assert redis_client.dbsize() == 0


def test_many_bad_lines_are_counted(multiworker: Run, redis_client: redis.Redis, tmp_path: Path) -> None:
    _, _, err = multiworker("enqueue", "--file", written(tmp_path, *["x"] * 100))

    assert err.count("\n") == 22
    assert "... and 80 more" in err


def test_bad_lines_can_be_skipped(multiworker: Run, redis_client: redis.Redis, tmp_path: Path) -> None:
    path = written(tmp_path, *(line for bad in BAD for line in ('{"type":"t"}', bad)))

    code, out, err = multiworker("enqueue", "--file", path, "--skip-bad")

    assert (code, out) == (os.EX_DATAERR, f"{len(BAD)} tasks sent\n")
    assert [line.split(":")[0] for line in err.splitlines()] == [f"line {2 * number + 2}" for number in range(len(BAD))]
    assert len(taken(redis_client)) == len(BAD)


def test_queue_ls(multiworker: Run, client: Client, as_worker: Ask) -> None:
    client.enqueue_many([("t", 1)] * 3)
    Worker(as_worker).claim(1)

    code, out, _ = multiworker("queue", "ls", "--queue", "async_tasks", "--queue", "other")
    head, first, second = (line.split() for line in out.splitlines())
    assert code == 0
    assert dict(zip(head, first, strict=True)) == {
        **dict.fromkeys(("handoff", "scheduled", "priority", "suspects", "dead"), "0"),
        "queue": "async_tasks",
        "waiting": "2",
        "in_flight": "1",
        "workers": "1",
    }
    assert second == ["other", *["0"] * 8]

    code, out, _ = multiworker("queue", "ls", "--json")
    assert code == 0
    assert [(queue["queue"], queue["waiting"], queue["in_flight"]) for queue in json.loads(out)] == [
        ("async_tasks", 2, 1)
    ]


def test_queue_peek_escapes_what_could_move_a_cursor(multiworker: Run, redis_client: redis.Redis) -> None:
    redis_client.lpush("async_tasks", '{"type":"a"}', "\x1b[2J\u202e\nx", b"\xff", "y" * 5000)

    code, out, _ = multiworker("queue", "peek")
    assert code == 0
    assert out.splitlines()[:3] == ['{"type":"a"}', r"\x1b[2J\u202e\nx", "\ufffd"]
    assert out.splitlines()[3].startswith("yyy")
    assert out.isprintable() or set(out) - {"\n"} <= {char for char in out if char.isprintable()}

    code, out, _ = multiworker("queue", "peek", "--json", "-n", "3")
    assert json.loads(out) == [
        {"priority": 0, "size": 12, "payload": '{"type":"a"}'},
        {"priority": 0, "size": 9, "payload": "\x1b[2J\u202e\nx"},
        {"priority": 0, "size": 1, "payload_base64": "/w=="},
    ]
    assert out.isascii()


def test_queue_peek_into_an_empty_queue(multiworker: Run) -> None:
    assert multiworker("queue", "peek") == (0, "", "nothing is waiting\n")
    assert multiworker("queue", "peek", "--json") == (0, "[]\n", "")


def test_queue_purge(multiworker: Run, client: Client, redis_client: redis.Redis) -> None:
    client.enqueue_many([("t", 1)] * 3)
    client.enqueue("t", delay=60)

    assert multiworker("queue", "purge", "--yes") == (0, "3 tasks deleted\n", "")
    code, out, _ = multiworker("queue", "purge", "--all", "--yes", "--json")
    assert (code, json.loads(out)) == (0, {"queue": "async_tasks", "purged": 1})


def die(
    client: Client, as_worker: Ask, kind: str, reason: Reason, detail: str = "", data: Any = None, **more: Any
) -> None:
    client.enqueue(kind, data, **more)
    worker = Worker(as_worker, f"w{os.urandom(4).hex()}")
    ((delivery, _),) = worker.claim(1)
    worker.bury([delivery], reason, detail)


def test_dead_ls(multiworker: Run, client: Client, as_worker: Ask) -> None:
    die(client, as_worker, "email", Reason.EXHAUSTED, "Traceback\n  x\nValueError: boom\x1b[2J", id="mine")
    die(client, as_worker, "sms", Reason.REJECTED)

    code, out, _ = multiworker("dead", "ls")
    head, first, second = out.splitlines()
    assert code == 0
    assert head.split() == ["entry", "time", "reason", "type", "id", "detail"]
    assert "rejected" in first
    assert "sms" in first
    assert "mine" in second
    assert second.endswith(r"ValueError: boom\x1b[2J")

    assert len(multiworker("dead", "ls", "--limit", "1")[1].splitlines()) == 2
    assert "mine" in multiworker("dead", "ls", "--limit", "1", "--oldest")[1]
    assert len(multiworker("dead", "ls", "--type", "sms")[1].splitlines()) == 2
    assert len(multiworker("dead", "ls", "--reason", "rejected")[1].splitlines()) == 2
    assert len(multiworker("dead", "ls", "--id", "mine")[1].splitlines()) == 2
    assert multiworker("dead", "ls", "--type", "none") == (0, "", "no dead letters\n")
    assert multiworker("dead", "ls", "--type", "none", "--json") == (0, "[]\n", "")

    newest, oldest = json.loads(multiworker("dead", "ls", "--json", "--limit", "0")[1])
    assert (newest["type"], oldest["type"]) == ("sms", "email")
    assert oldest["given_id"] == "mine"
    assert oldest["reason"] == "attempts exhausted"
    assert json.loads(oldest["payload"])["id"] == "mine"


def test_dead_show(multiworker: Run, client: Client, as_worker: Ask, redis_client: redis.Redis) -> None:
    die(client, as_worker, "email", Reason.EXHAUSTED, "Traceback\n  boom\x07", {"to": "\u202e"})
    (letter,) = json.loads(multiworker("dead", "ls", "--json")[1])

    code, out, _ = multiworker("dead", "show", letter["entry"])
    assert code == 0
    assert "reason:   attempts exhausted\n" in out
    assert "detail:   Traceback\ndetail:     boom\\x07\n" in out
    assert '\npayload:  {"id":' in out
    assert r"\u202e" in out

    assert json.loads(multiworker("dead", "show", letter["entry"], "--json")[1]) == letter
    assert multiworker("dead", "show", "1-1") == (1, "", "multiworker dead show: no dead letter 1-1\n")
    assert multiworker("dead", "show", "x\ny") == (1, "", "multiworker dead show: no dead letter x\\ny\n")


def entries(multiworker: Run) -> list[str]:
    return [letter["entry"] for letter in json.loads(multiworker("dead", "ls", "--json", "--oldest", "-n", "0")[1])]


def test_dead_requeue(multiworker: Run, redis_client: redis.Redis) -> None:
    bury_many(redis_client, 1200)
    first, second, third, *_ = entries(multiworker)

    assert multiworker("dead", "requeue", first, second) == (0, "2 dead letters requeued\n", "")
    code, out, err = multiworker("dead", "requeue", first, third)
    assert (code, out, err) == (1, "1 dead letters requeued\n", f"no dead letter {first}\n")
    code, out, _ = multiworker("dead", "requeue", "--type", "none")
    assert code == 1
    code, out, _ = multiworker("dead", "requeue", "--type", "t", "--reason", "rejected", "--json")
    assert (code, len(json.loads(out)["requeued"])) == (0, 1197)
    code, out, err = multiworker("dead", "requeue", "--all")
    assert (code, out, err) == (1, "0 dead letters requeued\n", "no such dead letters\n")
    assert redis_client.zcard(KEYS.scheduled) == 1200


def test_dead_requeue_leaves_cut_payloads(multiworker: Run, as_worker: Ask, redis_client: redis.Redis) -> None:
    redis_client.lpush("async_tasks", b"x" * 1_200_000)
    worker = Worker(as_worker)
    ((delivery, _),) = worker.claim()
    worker.bury([delivery], Reason.TOO_LARGE, "a" * 64)
    (entry,) = entries(multiworker)

    for arguments in ([entry], ["--all"]):
        code, out, err = multiworker("dead", "requeue", *arguments)
        assert (code, out) == (1, "0 dead letters requeued\n")
        assert err == f"{entry}: only the head of its payload is kept, so it cannot be requeued\n"
    assert "only the head of the payload is kept" in multiworker("dead", "show", entry)[2]


def test_dead_discard(multiworker: Run, redis_client: redis.Redis) -> None:
    bury_many(redis_client, 1200)
    first, *_ = entries(multiworker)

    assert multiworker("dead", "discard", first) == (0, "1 dead letters discarded\n", "")
    assert multiworker("dead", "discard", first) == (1, "0 dead letters discarded\n", f"no dead letter {first}\n")
    assert multiworker("dead", "discard", "--id", "task-7", "--yes") == (0, "1 dead letters discarded\n", "")
    code, out, _ = multiworker("dead", "discard", "--all", "--yes", "--json")
    assert (code, len(json.loads(out)["discarded"])) == (0, 1198)
    assert redis_client.xlen(KEYS.dead) == 0
    assert redis_client.zcard(KEYS.scheduled) == 0
