"""`multiworker reload --wait`: its exit code is the outcome of the reload that it has asked for, and of no other."""

import os
import re
import signal
import subprocess

import pytest

from multiworker.worker.words import State, Total, Word
from tests.fix_redis import RedisServer
from tests.system.fix_system import Answer, Engine, answer, until

BROKEN = ("CODE = ", "raise RuntimeError('broken')\nCODE = ")
SLOW = ("CODE = ", "while not (HERE / 'import').exists(): time.sleep(0.005)\nCODE = ")


def booting(engine: Engine, generation: int) -> bool:
    return any(
        (record[Word.GENERATION], record[Word.STATE]) == (generation, State.IMPORT) for record in engine.records()
    )


def begin_slowly(engine: Engine) -> "subprocess.Popen[str]":
    """Begin a reload of code whose import lasts until a gate is opened, and see it boot."""
    engine.write_handlers(SLOW)
    reloading = engine.begin("reload", "--wait")
    until(lambda: booting(engine, 2), "a new child", engine.text)
    return reloading


def test_it_returns_when_the_new_code_runs(engine: Engine) -> None:
    # given children that run old code
    engine.start()
    before = engine.until_ready(2)
    # when new code is loaded
    engine.write_handlers(("one", "two"))
    found = engine.call("reload", "--wait")
    # then it runs when the command returns
    assert found == (0, f"pid {engine.pid}: generation 2 is ready, 2 children\n", "")
    assert len(engine.ready(2)) == 2
    assert not set(engine.until_ready(2, 2)) & set(before)
    # and the same again, without waiting
    assert engine.call("reload").out == f"pid {engine.pid} has been told to reload\n"
    engine.until_line("generation 3 is ready")
    assert engine.stop() == 0


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (BROKEN, "--handler h:run: RuntimeError: broken"),
        (("CODE = ", "CODE = (\n"), r"--handler h:run: SyntaxError: .*\(h.py, line \d+\)"),
        (("CODE = ", "import no_such_module\nCODE = "), "ModuleNotFoundError: No module named 'no_such_module'"),
        (
            ("CODE = ", "raise ValueError('redis://user:s3cret@host/0 two\\nlines')\nCODE = "),
            r"redis://\*\*\*@host/0 two\\nlines",
        ),
        (("CODE = ", "os._exit(3)\nCODE = "), "exit code 3"),
        (("CODE = ", "os.kill(os.getpid(), 11)\nCODE = "), r"signal 11 \(SIGSEGV\)"),
    ],
)
def test_code_that_does_not_boot_is_told_with_its_reason(engine: Engine, change: tuple[str, str], reason: str) -> None:
    # given children that run good code
    engine.start()
    before = engine.until_ready(2)
    # when broken code is to be loaded
    engine.write_handlers(change)
    found = engine.call("reload", "--wait")
    # then one line says why not, and the old ones were never touched
    assert (found.code, found.out, found.err.count("\n")) == (78, "", 1)
    assert re.search(reason, found.err)
    assert found.err.startswith(f"multiworker reload: pid {engine.pid}: abandoned, the old code runs on: ")
    (page,) = (engine.directory / "runtime").glob("*.board")
    assert "s3cret" not in found.err
    assert b"s3cret" not in page.read_bytes()
    assert engine.until_ready(2, 1) == before
    assert "abandoned" in engine.call("status").out
    # and when it is mended, it is loaded
    engine.write_handlers(("one", "mended"))
    assert engine.call("reload", "--wait").code == 0
    assert engine.stop() == 0


def test_a_boot_that_takes_too_long_is_told_as_such(engine: Engine) -> None:
    engine.start("--boot-timeout", "3", procs=1)
    engine.write_handlers(SLOW)
    found = engine.call("reload", "--wait")
    assert found.code == 78
    assert "did not boot within 3 s" in found.err
    assert engine.stop() == 0


def test_settings_that_cannot_be_are_told_with_their_reason(engine: Engine) -> None:
    config = engine.directory / "config.toml"
    config.write_text("procs = 2\n")
    engine.start("--config", "config.toml", procs="2")
    before = engine.until_ready(2)
    config.write_text("procs = 'many'\n")
    found = engine.call("reload", "--wait")
    assert (found.code, found.out, found.err.count("\n")) == (78, "", 1)
    assert "refused, the old code runs on: " in found.err
    assert "config.toml" in found.err
    assert "'many'" in found.err
    assert engine.until_ready(2, 1) == before
    assert engine.stop() == 0


def test_many_at_once_are_answered_by_few_reloads(engine: Engine) -> None:
    # given new code
    engine.start()
    engine.write_handlers(("one", "two"))
    # when many ask for it at the same time
    reloading = [engine.begin("reload", "--wait") for _ in range(8)]
    answers = [answer(one) for one in reloading]
    # then all of them are told that it runs
    assert [(found.code, found.err) for found in answers] == [(0, "")] * 8
    generations = {int(found.out.split("generation ")[1].split()[0]) for found in answers}
    assert len(engine.lines("SIGHUP from")) >= len(generations)
    assert max(generations) <= 1 + len(engine.lines("SIGHUP from"))
    assert engine.stop() == 0


def test_the_outcome_of_an_older_reload_is_not_taken_for_its_own(engine: Engine) -> None:
    # given a reload under way, of code that will boot
    engine.start()
    first = begin_slowly(engine)
    # when the code breaks, and is to be loaded
    engine.write_handlers(BROKEN)
    second = engine.begin("reload", "--wait")
    engine.until_line("SIGHUP from", count=2)
    (engine.directory / "import").touch()
    # then this one fails, whatever became of the first
    assert "RuntimeError: broken" in answer(second).err
    assert second.returncode == 78
    answer(first)
    # and the other way round: a reload that fails is none of the next one's business
    engine.send(signal.SIGHUP)
    engine.until_line("SIGHUP from", count=3)
    engine.write_handlers(("one", "mended"))
    assert engine.call("reload", "--wait").code == 0
    engine.push("quick", 1)
    assert engine.until_noted(1)[0]["code"] == "mended"
    assert engine.stop() == 0


def test_a_reload_whose_settings_are_being_read_is_not_taken_for_its_own_either(engine: Engine) -> None:
    # given a parent that has begun to read the settings, and not come to their end
    config = engine.directory / "config.toml"
    config.write_text("procs = 2\n")
    engine.start("--config", "config.toml", procs="2")
    board = engine.board()
    assert board
    config.unlink()
    os.mkfifo(config)
    engine.send(signal.SIGHUP)
    with config.open("w") as old:
        # when they change, and are to be loaded
        (engine.directory / "changed.toml").write_text("procs = 'many'\n")
        (engine.directory / "changed.toml").rename(config)
        reloading = engine.begin("reload", "--wait")
        until(lambda: board.totals[Total.ASKED] == 2, "the second signal", engine.text)
        old.write("procs = 2\n")
    # then it is about these that the command tells, though the others are loaded
    found = answer(reloading)
    assert found.code == 78
    assert "refused, the old code runs on: " in found.err
    assert "'many'" in found.err
    engine.until_line("generation 2 is ready")
    assert engine.stop() == 0


def test_a_parent_that_is_killed_meanwhile_is_told(engine: Engine) -> None:
    engine.start()
    reloading = begin_slowly(engine)
    engine.send(signal.SIGKILL)
    said = f"multiworker reload: pid {engine.pid} has ended before the reload was done\n"
    assert answer(reloading) == Answer(70, "", said)


def test_a_parent_that_is_told_to_stop_meanwhile_is_told(engine: Engine) -> None:
    engine.start("--boot-timeout", "60")
    engine.push("hold", 1)
    engine.until_noted(1)
    reloading = begin_slowly(engine)
    engine.send(signal.SIGTERM)
    assert answer(reloading) == Answer(75, "", f"multiworker reload: pid {engine.pid} is stopping\n")
    assert engine.call("reload").code == 75
    engine.open_gate()
    (engine.directory / "import").touch()
    assert engine.finish() == 0


def test_it_waits_for_redis_and_says_so_once(engine_of_its_own: Engine, private_redis: RedisServer) -> None:
    # given children whose Redis is gone
    engine = engine_of_its_own
    engine.start()
    private_redis.stop()
    # when they are to be replaced
    reloading = engine.begin("reload", "--wait")
    assert reloading.stderr
    said = reloading.stderr.readline()
    # then the command says what it waits for, and goes on waiting
    assert said == f"pid {engine.pid}: waiting for Redis, the new children cannot reach it\n"
    assert reloading.poll() is None
    # and returns when Redis is back
    private_redis.start()
    found = answer(reloading)
    assert (found.code, found.err) == (0, "")
    assert engine.stop() == 0
