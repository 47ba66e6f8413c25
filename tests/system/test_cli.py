"""The command as a process: what is loaded, what others can see of it, terminals, pipes and signals."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from multiworker.worker.errors import Exit
from tests.waiting import sync_until

COMMAND = [sys.executable, "-m", "multiworker"]
HEAVY = ("asyncio", "redis", "django", "rich", "msgspec", "uvloop")


@pytest.fixture
def environment(redis_url: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MULTIWORKER_")}
    return {**kept, "MULTIWORKER_REDIS": redis_url, "PYTHONDEVMODE": "1", "PYTHONWARNINGS": "error"}


@pytest.fixture
def processes() -> Iterator[list[subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []
    yield started
    for process in started:
        with process:  # closes its pipes and waits for it
            process.kill()


def loaded_by(code: str) -> set[str]:
    """Which of the heavy modules a program loads."""
    program = f"{code}\nimport sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True)
    return set(done.stdout.split("\n")[-2].split()) & set(HEAVY)


@pytest.mark.parametrize(
    "code",
    [
        "import multiworker",
        "import multiworker.cli",
        "import multiworker; multiworker.handler; multiworker.Retry; multiworker.current",
        "from multiworker.cli.root import run; run(['--version'])",
        "from multiworker.cli.root import run; run(['--help'])",
        "from multiworker.cli.root import run; run(['no-such-command'])",
        "from multiworker.cli.root import run; run(['start', '--help'])",
        "from multiworker.cli.root import run; run(['start', '--procs', '0'])",
        "from multiworker.cli.root import run; run(['status', '--pid', '1'])",
        "from multiworker.cli.root import run; run(['health', '--pid', '1'])",
        "from multiworker.cli.root import run; run(['reload', '--pid', '1'])",
        "from multiworker.cli.root import run; run(['stop', '--pid', '1'])",
    ],
)
def test_what_needs_no_redis_does_not_load_it(code: str) -> None:
    assert loaded_by(code) - ({"msgspec"} if "handler" in code else set()) == set()


def test_the_check_above_would_notice() -> None:
    assert {"redis", "asyncio"} <= loaded_by("import multiworker; multiworker.enqueue")


def test_the_command_works_from_a_shell(environment: dict[str, str], redis_client: redis.Redis) -> None:
    done = subprocess.run(
        [*COMMAND, "enqueue", "email", "-"], env=environment, input=b' {"to": "x"} ', capture_output=True, check=False
    )

    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads(redis_client.lindex("async_tasks", 0)) == {  # type: ignore[arg-type]
        "id": done.stdout.decode().strip(),
        "type": "email",
        "data": {"to": "x"},
    }


@pytest.mark.parametrize(
    "arguments",
    [
        ["--redis", "redis://user:s3cret@localhost:1/0"],
        ["--redis=redis://:s3cret@localhost:1"],
        ["--redis", "redis://localhost:1?password=s3cret"],
        ["--redis", "redis:/:s3cret@localhost"],
        ["redis://:s3cret@localhost"],
    ],
    ids=" ".join,
)
def test_a_password_is_hidden_from_the_list_of_processes(
    arguments: list[str], environment: dict[str, str], processes: list[subprocess.Popen[bytes]]
) -> None:
    if arguments == ["redis://:s3cret@localhost"]:
        arguments = ["--file", "-", "--id", *arguments]
    process = subprocess.Popen(
        [*COMMAND, "enqueue", "--file", "-", *arguments], env=environment, stdin=subprocess.PIPE, stderr=subprocess.PIPE
    )
    processes.append(process)
    line = Path(f"/proc/{process.pid}/cmdline")

    def hidden() -> bool:
        shown = line.read_bytes()
        return b"multiworker" in shown and b"s3cret" not in shown

    sync_until(lambda: hidden() or process.poll())

    _, err = process.communicate(b'{"type":"t"}\n')
    assert b"s3cret" not in err
    assert process.returncode in {Exit.UNAVAILABLE, Exit.USAGE}


def test_a_pipe_is_sent_as_it_comes(
    environment: dict[str, str], redis_client: redis.Redis, processes: list[subprocess.Popen[bytes]]
) -> None:
    process = subprocess.Popen(
        [*COMMAND, "enqueue", "--file", "-"],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    processes.append(process)
    assert process.stdin

    process.stdin.write(b'{"type":"a"}\n{"type":"b"}\n{"type":')
    process.stdin.flush()
    sync_until(lambda: redis_client.llen("async_tasks") == 2)
    process.stdin.write(b'"c"}\n{"type":"d"}\n\nnonsense\n{"type":"e"}')
    out, err = process.communicate()

    assert process.returncode == os.EX_DATAERR
    assert out == b""
    assert [line.split(b":")[0] for line in err.splitlines()] == [b"line 6", b"multiworker enqueue"]
    assert b"stopped at line 6; the 4 tasks before it were sent" in err
    assert redis_client.llen("async_tasks") == 4


def test_interrupting_is_clean(
    environment: dict[str, str], redis_client: redis.Redis, processes: list[subprocess.Popen[bytes]]
) -> None:
    process = subprocess.Popen(
        [*COMMAND, "enqueue", "--file", "-"], env=environment, stdin=subprocess.PIPE, stderr=subprocess.PIPE
    )
    processes.append(process)
    assert process.stdin
    process.stdin.write(b'{"type":"a"}\n')
    process.stdin.flush()
    sync_until(lambda: redis_client.llen("async_tasks") == 1)

    process.send_signal(signal.SIGINT)
    err = process.communicate()[1]

    assert process.returncode == 130
    # Redis may have it before its answer is there
    assert re.fullmatch(rb"the first [01] tasks were surely sent", err.splitlines()[0])
    assert b"Traceback" not in err


@pytest.mark.parametrize("arguments", [["queue", "peek", "-n", "1000"], ["queue", "peek", "--json", "-n", "1000"]])
def test_a_reader_that_leaves_early_is_no_error(
    environment: dict[str, str],
    redis_client: redis.Redis,
    processes: list[subprocess.Popen[bytes]],
    arguments: list[str],
) -> None:
    redis_client.lpush("async_tasks", *("x" * 1000 for _ in range(1000)))
    process = subprocess.Popen([*COMMAND, *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    processes.append(process)
    assert process.stdout

    process.stdout.readline()
    process.stdout.close()
    process.stdout = None
    err = process.communicate()[1]

    assert err == b""
    assert process.returncode == 1


def on_terminal(arguments: list[str], environment: dict[str, str], answer: bytes) -> tuple[int, bytes]:
    """Run a command with a terminal as its standard input and error; return exit code and what the terminal shows."""
    near, far = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        env=environment,
        stdin=far,
        stdout=subprocess.DEVNULL,
        stderr=far,
        start_new_session=True,
    )
    os.close(far)
    os.write(near, answer)
    shown = b""
    try:
        while chunk := os.read(near, 65536):
            shown += chunk
    except OSError:  # the last process of a terminal has gone
        pass
    os.close(near)
    return process.wait(), shown


@pytest.mark.parametrize(("answer", "code", "left"), [(b"y\n", 0, 0), (b"n\n", 1, 1), (b"\n", 1, 1), (b"\x04", 130, 1)])
@pytest.mark.parametrize("arguments", [["queue", "purge"], ["dead", "discard", "--all"]], ids=" ".join)
def test_deleting_asks_on_a_terminal(
    arguments: list[str], answer: bytes, code: int, left: int, environment: dict[str, str], redis_client: redis.Redis
) -> None:
    redis_client.lpush("async_tasks", "x")
    redis_client.xadd("{async_tasks}:dead", {"id": "x"})

    result, shown = on_terminal(arguments, environment, answer)

    assert result == code
    assert b"Delete all" in shown
    assert b"async_tasks" in shown
    remaining = redis_client.llen("async_tasks") if arguments[0] == "queue" else redis_client.xlen("{async_tasks}:dead")
    assert remaining == left


@pytest.mark.parametrize(("lines", "bar"), [(20_000, True), (10, False)])
def test_long_files_show_their_progress_on_a_terminal(
    environment: dict[str, str],
    redis_client: redis.Redis,
    tmp_path: Path,
    lines: int,
    bar: bool,  # noqa: FBT001
) -> None:
    path = tmp_path / "tasks.jsonl"
    path.write_text('{"type":"t","data":"0123456789"}\n' * lines)

    code, shown = on_terminal(["enqueue", "--file", str(path)], environment, b"")

    assert code == 0
    assert (b"sending" in shown and b"100%" in shown) is bar
    assert redis_client.llen("async_tasks") == lines


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("multiworker ", {"start", "enqueue", "queue", "dead", "demo"}),
        ("multiworker d", {"dead", "demo"}),
        ("multiworker dead ", {"ls", "show", "requeue", "discard"}),
        ("multiworker start --log-l", {"--log-level"}),
        ("multiworker start --log-format ", {"text", "json"}),
    ],
)
def test_shells_complete_commands_and_options(words: str, expected: set[str], environment: dict[str, str]) -> None:
    environment |= {
        "_MULTIWORKER_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split(" ")) - 1),
    }

    done = subprocess.run(COMMAND, env=environment, capture_output=True, check=True, text=True)

    assert expected <= {line.partition(",")[2] for line in done.stdout.splitlines()}


def test_start_reads_its_file_and_works_until_nothing_is_left(
    environment: dict[str, str], redis_client: redis.Redis, redis_url: str, tmp_path: Path
) -> None:
    (tmp_path / "app.py").write_text("def run(task):\n    pass\n")
    (tmp_path / "c.toml").write_text(
        f'redis = "{redis_url}"\nhandler = "app:run"\nqueue = "filed"\nprocs = 1\nburst = true'
    )
    redis_client.lpush("filed", '{"type":"t"}')
    for name in ("MULTIWORKER_REDIS", "PYTHONDEVMODE", "PYTHONWARNINGS"):
        del environment[name]

    done = subprocess.run(
        [*COMMAND, "start", "--config", "c.toml"], env=environment, cwd=tmp_path, capture_output=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert redis_client.exists("filed", "{filed}:dead") == 0
