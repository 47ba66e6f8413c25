"""--preload: children are forked from a template, which has imported the handlers once."""

import signal
import sys
from pathlib import Path

import pytest

from multiworker.worker.words import Word
from tests.fix_redis import RedisServer
from tests.memory import resident_code
from tests.system.fix_system import Engine, system_processes, until

IMPORTED = ('CODE = "one"', 'CODE = f"one, imported by {os.getpid()}"')
IMPATIENT = """
from multiworker.supervisor import nursery
nursery.BIRTH_TIME = 0.3
from multiworker.cli import main
main()
"""


@pytest.fixture
def preloaded(engine: Engine) -> Engine:
    """An engine whose tasks say which process has imported their code; not started yet."""
    engine.write_handlers(IMPORTED)
    return engine


def start(engine: Engine, procs: int = 2) -> int:
    """Start it with --preload.

    Returns:
        The template's pid.
    """
    engine.start("--preload", procs=procs)
    return only_template(engine)


def only_template(engine: Engine, *, but: int = 0) -> int:
    """Wait until there is one template, another one than the given."""
    return until(lambda: next(iter(set(engine.templates()) - {but}), 0), "the template", engine.text)


def code_of(engine: Engine, n: int) -> str:
    """Run a task, and return what it says of its code."""
    seen = len(engine.ledger("end"))
    engine.push("quick", n)
    code: str = engine.until_noted(seen + 1, "end")[-1]["code"]
    return code


def test_children_run_what_the_template_has_imported_and_belong_to_the_parent(preloaded: Engine) -> None:
    # given
    template = start(preloaded, procs=3)
    # when tasks run
    preloaded.push("quick", *range(30))
    # then their code was imported by the template
    assert {entry["code"] for entry in preloaded.until_noted(30, "end")} == {f"one, imported by {template}"}
    # and children and template are the parent's
    parents = {one.pid: one.parent for one in system_processes()}
    assert {parents[pid] for pid in [template, *preloaded.ready()]} == {preloaded.pid}
    assert preloaded.stop() == 0


def test_a_killed_child_comes_back_from_the_template_and_its_tasks_run_again(preloaded: Engine) -> None:
    # given children that hold tasks
    template = start(preloaded)
    preloaded.push("hold", *range(4))
    victim = preloaded.until_noted(4)[0]["pid"]
    # when one is killed
    preloaded.kill(victim)
    # then there are two again, with the same code, and all tasks are done
    assert victim not in preloaded.until_ready(2)
    preloaded.open_gate()
    assert {entry["code"] for entry in preloaded.until_noted(4, "end")} == {f"one, imported by {template}"}
    assert preloaded.stop() == 0
    assert preloaded.runs("end") == dict.fromkeys(range(4), 1)


def test_a_killed_template_is_replaced_and_children_do_not_notice(preloaded: Engine) -> None:
    # given
    template = start(preloaded)
    before = preloaded.until_ready(2)
    # when the template is killed
    preloaded.send(signal.SIGKILL, template)
    another = only_template(preloaded, but=template)
    # then the children are the same, and the next one comes from the new template
    assert preloaded.until_ready(2) == before
    preloaded.kill(before[0])
    preloaded.kill(before[1])
    preloaded.until_ready(2)
    assert code_of(preloaded, 1) == f"one, imported by {another}"
    assert preloaded.stop() == 0


def test_a_template_at_rest_gives_up_what_it_has_read_of_libraries_and_forks_on(preloaded: Engine) -> None:
    # given
    template = start(preloaded)
    before = preloaded.until_ready(2)
    # when nobody is born for a while, then it keeps no page of a library that only children run
    until(lambda: resident_code(template, "uvloop/loop") == 0, "the trimming", preloaded.text)
    assert resident_code(before[0], "uvloop/loop") > 0
    # and a child that it forks then is one like any other
    preloaded.kill(before[0])
    preloaded.until_ready(2)
    assert code_of(preloaded, 1) == f"one, imported by {template}"
    assert preloaded.stop() == 0


def test_a_reload_imports_anew_and_ends_the_old_template(preloaded: Engine) -> None:
    # given
    template = start(preloaded)
    preloaded.write_handlers(('CODE = "one"', 'CODE = "two"'))
    # when
    answer = preloaded.call("reload", "--wait")
    # then
    assert answer.code == 0, answer
    assert code_of(preloaded, 1) == "two"
    until(lambda: template not in preloaded.processes(), "the old template's end", preloaded.text)
    assert preloaded.stop() == 0


def test_after_a_failed_reload_a_killed_child_comes_back_with_the_old_code(preloaded: Engine) -> None:
    # given a reload to code that does not import
    template = start(preloaded)
    preloaded.write_handlers(('CODE = "one"', 'CODE = 1 / 0, "two"'))
    answer = preloaded.call("reload", "--wait")
    assert answer.code != 0
    assert "ZeroDivisionError" in answer.err
    # when children are killed
    for pid in preloaded.until_ready(2):
        preloaded.kill(pid)
    preloaded.until_ready(2)
    # then they run the code that works
    assert code_of(preloaded, 1) == f"one, imported by {template}"
    assert preloaded.stop() == 0


THREAD = "import threading\nthreading.Thread(target=time.sleep, args=(100,), name='refresher', daemon=True).start()\n"
CONNECTION = (
    "import redis\nKEPT = redis.Redis.from_url(os.environ['REDIS_URL'])\nKEPT.ping()\nKEPT2 = KEPT.connection\n"
)


@pytest.mark.parametrize(
    ("before", "named"),
    [
        (THREAD, r"2 threads \(refresher beside the main one\)"),
        (CONNECTION, r"an open connection to "),
        ("raise ValueError('as told')\n", r"--handler h:run: ValueError: as told"),
    ],
)
def test_what_cannot_be_forked_is_named_and_ends_the_first_start(engine: Engine, before: str, named: str) -> None:
    # given
    engine.write_handlers(('CODE = "one"', f'{before}CODE = "one"'))
    # when
    engine.start("--preload", wait=False)
    # then
    assert engine.finish() == 78
    assert engine.lines(named)


def test_nothing_outlives_a_killed_parent(preloaded: Engine) -> None:
    # given
    start(preloaded)
    # when
    preloaded.send(signal.SIGKILL)
    preloaded.exit_code()
    # then
    until(lambda: not preloaded.processes(), "the end of all processes", preloaded.text)


def test_a_stop_while_the_template_imports_leaves_nothing(engine: Engine) -> None:
    # given a template that does not come to its end
    engine.write_handlers(('CODE = "one"', 'print("importing", flush=True)\ntime.sleep(1000)\nCODE = "one"'))
    engine.start("--preload", wait=False)
    engine.until_line("importing")
    # when, then
    assert engine.stop() == 0
    assert not engine.lines("died")


def test_an_import_that_hangs_is_ended_by_the_boot_timeout(engine: Engine) -> None:
    # given
    engine.write_handlers(('CODE = "one"', 'time.sleep(1000 if not Path("good").exists() else 0)\nCODE = "one"'))
    # when
    engine.start("--preload", "--boot-timeout", "5", wait=False)
    # then the stacks say where, and when it imports in time it goes on
    engine.until_line(r"template \(pid \d+, generation 1\) is stuck: did not boot")
    engine.until_line("h.py")
    (engine.directory / "good").touch()
    engine.until_ready(2)
    assert engine.stop() == 0


def test_a_template_that_does_not_fork_is_replaced(preloaded: Engine) -> None:
    # given a template that was stopped
    preloaded.command = [sys.executable, "-c", IMPATIENT]
    template = start(preloaded)
    preloaded.send(signal.SIGSTOP, template)
    # when a child dies
    victim, _ = preloaded.until_ready(2)
    preloaded.kill(victim)
    # then another template forks its successor
    preloaded.until_line("could not be forked by its template")
    assert only_template(preloaded, but=template)
    assert victim not in preloaded.until_ready(2)
    assert preloaded.stop() == 0


def test_max_tasks_is_exact_with_a_template(preloaded: Engine) -> None:
    # given
    preloaded.push("quick", *range(60))
    # when
    preloaded.start("--preload", "--max-tasks", "50", wait=False)
    # then
    assert preloaded.finish() == 0
    assert preloaded.conserved()["done"] == 50
    assert preloaded.left_in_redis() == {"queue": 10}


def test_children_of_a_template_wait_for_redis(
    tmp_path: Path, engine_of_its_own: Engine, private_redis: RedisServer
) -> None:
    # given
    private_redis.stop()
    engine_of_its_own.start("--preload", wait=False)
    engine_of_its_own.until_line("waiting for Redis")
    # when
    private_redis.start()
    # then
    assert engine_of_its_own.until_ready(2)
    records = [record for record in engine_of_its_own.records() if record[Word.SLOT]]
    assert len(records) == 2
    assert engine_of_its_own.stop() == 0
