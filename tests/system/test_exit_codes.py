"""What the parent exits with, and the one line that says why."""

import subprocess
import sys

import pytest

from multiworker.worker.words import Word
from tests.fix_redis import RedisServer
from tests.system.fix_system import Engine, multiworker, until


@pytest.mark.parametrize(
    ("handlers", "said"),
    [
        ("import no_such_module", "--handler h:run: ModuleNotFoundError: No module named 'no_such_module'"),
        ("run run run", "--handler h:run: SyntaxError: invalid syntax"),
        ("raise SystemExit('no')", "--handler h:run: SystemExit: no"),
        ("walk = 1", "--handler h:run: the module has no function run"),
    ],
)
def test_handlers_that_do_not_import_at_the_first_start(engine: Engine, handlers: str, said: str) -> None:
    # given a handler module that is no good
    (engine.directory / "h.py").write_text(handlers + "\n")
    # when a parent starts
    engine.start(procs=1, wait=False)
    # then it ends, and one line says why
    assert engine.finish() == 78
    (line,) = [line for line in engine.lines("ERROR") if " died: " not in line]
    assert said in line
    assert all(line.startswith("20") for line in engine.text().splitlines()), "a line of something else than the log"


def test_redis_that_does_not_come(engine_of_its_own: Engine, private_redis: RedisServer) -> None:
    private_redis.stop()
    engine_of_its_own.start("--redis-wait", "0.5", wait=False)
    assert engine_of_its_own.finish() == 69
    assert engine_of_its_own.lines(r"ERROR .*gave up on Redis after 0.5 s: Redis at unix")


@pytest.mark.parametrize(
    "options", [["--procs", "many"], ["--no-such-option"], ["--concurrency", "0"], ["--redis", "http://localhost"]]
)
def test_wrong_options(options: list[str]) -> None:
    done = subprocess.run([*multiworker(), "start", *options], capture_output=True, text=True, check=False)
    assert done.returncode == 64
    assert len(done.stderr.splitlines()) == 1
    assert not done.stdout


@pytest.mark.parametrize("trap", ["link", "file"])
def test_a_runtime_directory_that_is_not_ours(engine: Engine, trap: str) -> None:
    # given a directory for run-time files in which somebody has prepared ours
    path = engine.directory / "multiworker"
    path.symlink_to(engine.directory) if trap == "link" else path.touch()
    engine.environment |= {"RUNTIME_DIRECTORY": "", "XDG_RUNTIME_DIR": str(engine.directory)}
    # then a parent does not start, and says where it could not write
    engine.start(wait=False)
    assert engine.exit_code() == 73
    (line,) = engine.lines("ERROR")
    assert f"{path}" in line
    assert "None" not in line


IMPATIENT = """
import sys
from multiworker.supervisor import restart
restart.GIVE_UP = 1.0
from multiworker.cli import main
main()
"""


@pytest.mark.parametrize(
    "crash", ["os.abort()", "import threading\nthreading.Timer(0.3, os.abort).start()"], ids=["import", "ready"]
)
def test_children_that_crash_again_and_again(engine: Engine, crash: str) -> None:
    # given a parent that gives up after a second, and handlers that kill whoever imports them, at once or a bit later
    engine.command = [sys.executable, "-c", IMPATIENT]
    engine.write_handlers(("CODE = ", f"{crash}\nCODE = "))
    # then it does
    engine.start(procs=1, wait=False)
    assert engine.finish() == 70
    assert engine.lines("ERROR .* giving up")


def test_children_that_are_killed_while_they_do_good_work_are_no_reason_to_give_up(engine: Engine) -> None:
    # given a parent that gives up after a second
    engine.command = [sys.executable, "-c", IMPATIENT]
    engine.start(procs=1)
    # when one child after the other is killed by somebody, but has done something
    for n in range(8):
        (child,) = engine.until_ready(1)
        engine.push("quick", n)
        engine.until_noted(n + 1, "end")
        until(lambda: sum(record[Word.DONE] for record in engine.records()), "the acknowledgement", engine.text)
        engine.kill(child)
    # then the parent does not take it for a crash loop
    engine.until_ready(1)
    assert engine.stop() == 0
    assert len(engine.lines("died: signal 9")) == 8


def test_a_stop_is_no_error(engine: Engine) -> None:
    engine.start()
    assert engine.stop() == 0
    assert not engine.lines("WARNING|ERROR")
