"""The clock on the wall is set by an hour: nothing happens."""

import os
import shutil
import time
from pathlib import Path

import pytest

from multiworker.worker.words import Word
from tests.system.fix_system import Engine, until

STUCK = 3
WALL = ("time.monotonic()", "time.time()")


def library() -> str:
    """Return the library that shows a process another time; without it the test is skipped, or fails under CI."""
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    if found and shutil.which("faketime"):
        return str(found[0])
    missing = "no libfaketime: install it (Debian, Ubuntu: apt-get install faketime)"
    if os.environ.get("CI"):
        pytest.fail(missing)
    pytest.skip(missing)


def oldest_beat(engine: Engine) -> float:
    """Return the monotonic seconds of the beat of the child that has been silent for longest."""
    return min(record[Word.BEAT] for record in engine.records()) / 1e9


@pytest.mark.parametrize("hours", [1, -1])
def test_a_clock_that_is_set_changes_nothing(engine: Engine, hours: int) -> None:
    # given children whose time of day can be set, and that note it
    clock = engine.directory / "clock"
    clock.write_text("+0s")
    engine.environment |= {
        "LD_PRELOAD": library(),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    engine.write_handlers(WALL)
    engine.start("--stuck-timeout", str(STUCK))
    before = engine.until_ready(2)
    engine.push("hold", 1)
    engine.until_noted(1)
    # when it is set while a task runs
    clock.write_text(f"{3600 * hours:+d}s")
    # then it really is: a task notes another time
    engine.push("quick", 2)
    (entry,) = engine.until_noted(1, "end")
    assert abs(entry["at"] - time.time() - 3600 * hours) < 600
    # and several beats later all are the same, nothing has run twice, and a stop is a stop
    set_at = time.monotonic()
    until(lambda: oldest_beat(engine) > set_at + STUCK, "beats", engine.text)
    engine.open_gate()
    engine.until_noted(2, "end")
    assert engine.until_ready(2) == before
    assert engine.stop() == 0
    assert engine.runs() == engine.runs("end") == {1: 1, 2: 1}
    assert not engine.lines("WARNING|ERROR")
