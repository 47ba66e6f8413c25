"""How many children there are follows what the parent may use, also when that changes."""

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.fix_system import Engine, until

CPU = Path("/sys/fs/cgroup/cpu")
PERIOD = 100_000
ELSEWHERE = """
import sys
from functools import partial
from pathlib import Path
from multiworker.supervisor import cores, parent
parent.core_count = partial(cores.core_count, Path(sys.argv.pop(1)))
from multiworker.cli import main
main()
"""
needs_two = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core is all there is")


def until_children(engine: Engine, count: int, generation: int) -> None:
    """Reload, and wait for so many children."""
    engine.send(signal.SIGHUP)
    engine.until_line(f"generation {generation} is ready: {count} child")
    engine.until_ready(count, generation)


@needs_two
def test_affinity_is_followed_at_a_reload(engine: Engine) -> None:
    cores = sorted(os.sched_getaffinity(0))
    engine.start(procs="auto", wait=False, before=f"taskset -cp {cores[0]} $$ >taskset.log")
    engine.until_ready(1)
    os.sched_setaffinity(engine.pid, cores[:2])
    until_children(engine, 2, 2)
    os.sched_setaffinity(engine.pid, cores[:1])
    until_children(engine, 1, 3)
    assert engine.stop() == 0


@needs_two
def test_a_quota_of_cgroup_v2_is_followed_at_a_reload(engine: Engine) -> None:
    # given what the kernel shows of a unit with a quota in a slice with another, as recorded
    process, mounted = engine.directory / "self", engine.directory / "mounted"
    unit = mounted / "system.slice" / "multiworker.service"
    unit.mkdir(parents=True)
    process.mkdir()
    (process / "cgroup").write_text("0::/system.slice/multiworker.service\n")
    (process / "mountinfo").write_text(f"41 31 0:38 / {mounted} rw,relatime - cgroup2 cgroup2 rw\n")
    (unit / "cpu.max").write_text("150000 100000\n")
    (unit.parent / "cpu.max").write_text("max 100000\n")
    engine.command = [sys.executable, "-c", ELSEWHERE, str(process)]
    # when a parent starts, then it rounds up
    engine.start(procs="auto", wait=False)
    engine.until_ready(2)
    # and when the quota of the slice gets tighter or is lifted, a reload follows it
    (unit.parent / "cpu.max").write_text("100000 100000\n")
    until_children(engine, 1, 2)
    (unit.parent / "cpu.max").write_text("max 100000\n")
    until_children(engine, 2, 3)
    assert engine.stop() == 0


@contextlib.contextmanager
def cgroups() -> Iterator[tuple[Path, Path]]:
    """Make a cgroup of controller cpu, version 1, and one in it; skip the test if this machine does not let us."""
    outer = CPU / f"multiworker-{os.getpid()}"
    inner = outer / "inner"
    try:
        inner.mkdir(parents=True)
    except OSError as error:
        pytest.skip(f"cannot make a cgroup of controller cpu: {error}")
    try:
        yield outer, inner
    finally:
        inner.rmdir()
        outer.rmdir()


def set_quota(cgroup: Path, share: float) -> None:
    """Let a cgroup have so many cores."""
    (cgroup / "cpu.cfs_period_us").write_text(str(PERIOD))
    (cgroup / "cpu.cfs_quota_us").write_text(str(int(share * PERIOD)))


@needs_two
def test_a_quota_of_cgroup_v1_is_followed_at_a_reload(engine: Engine) -> None:
    with cgroups() as (outer, inner):
        # given a parent in a cgroup with a quota, in another without one
        set_quota(inner, 1.5)
        engine.start(procs="auto", wait=False, before=f"echo $$ >{inner}/cgroup.procs")
        engine.until_ready(2)
        # when the outer one gets a tighter one, which is lifted again, then a reload follows
        set_quota(inner, 1.0)
        set_quota(outer, 1.0)
        until_children(engine, 1, 2)
        set_quota(outer, 2.0)
        set_quota(inner, 1.5)
        until_children(engine, 2, 3)
        assert engine.stop() == 0
        until(lambda: not (inner / "cgroup.procs").read_text(), "an empty cgroup", engine.text)
