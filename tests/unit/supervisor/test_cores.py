"""How many cores there are to use."""

import os
from pathlib import Path

import pytest

from multiworker.supervisor import cores
from multiworker.supervisor.cores import core_count, usable_cores


@pytest.fixture
def sixteen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with 16 cores."""
    monkeypatch.setattr(cores, "usable_cores", lambda: list(range(16)))


def machine(folder: Path, cgroup: str, files: dict[str, str]) -> tuple[Path, Path]:
    """Write what the kernel shows of cgroups."""
    root = folder / "cgroup"
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text + "\n")
    told = folder / "self"
    told.write_text(cgroup)
    return told, root


@pytest.mark.usefixtures("sixteen")
@pytest.mark.parametrize(
    ("cgroup", "files", "count"),
    [
        ("0::/a\n", {}, 16),
        ("0::/a\n", {"a/cpu.max": "max 100000"}, 16),
        ("0::/a\n", {"a/cpu.max": "200000 100000"}, 2),
        ("0::/a\n", {"a/cpu.max": "150000 100000"}, 2),
        ("0::/a\n", {"a/cpu.max": "1000 100000"}, 1),
        ("0::/a\n", {"a/cpu.max": "9900000 100000"}, 16),
        ("0::/a/b/c\n", {"a/b/c/cpu.max": "max 100000", "a/cpu.max": "300000 100000"}, 3),
        ("0::/a/b\n", {"a/b/cpu.max": "400000 100000", "a/cpu.max": "300000 100000"}, 3),
        ("0::/not/shown/here\n", {"cpu.max": "500000 100000"}, 5),
        ("0::/a\n", {"b/cpu.max": "200000 100000"}, 16),
        ("0::/a\n", {"a/cpu.max": "nonsense"}, 16),
        ("0::/with:colon\n", {"with:colon/cpu.max": "200000 100000"}, 2),
        (
            "4:cpu,cpuacct:/x\n0::/x\n",
            {"cpu,cpuacct/x/cpu.cfs_quota_us": "350000", "cpu,cpuacct/x/cpu.cfs_period_us": "100000"},
            4,
        ),
        (
            "4:cpu,cpuacct:/x/y\n",
            {"cpu,cpuacct/x/cpu.cfs_quota_us": "200000", "cpu,cpuacct/x/cpu.cfs_period_us": "100000"},
            2,
        ),
        ("4:cpu:/x\n", {"cpu/x/cpu.cfs_quota_us": "-1", "cpu/x/cpu.cfs_period_us": "100000"}, 16),
        ("4:cpu:/x\n", {"cpu/x/cpu.cfs_quota_us": "1", "cpu/x/cpu.cfs_period_us": "0"}, 16),
        ("4:cpuset:/x\n", {"cpuset/x/cpu.cfs_quota_us": "1", "cpuset/x/cpu.cfs_period_us": "1"}, 16),
    ],
)
def test_the_tightest_quota_counts_rounded_up(tmp_path: Path, cgroup: str, files: dict[str, str], count: int) -> None:
    assert core_count(*machine(tmp_path, cgroup, files)) == count


@pytest.mark.usefixtures("sixteen")
def test_without_cgroups_affinity_counts(tmp_path: Path) -> None:
    assert core_count(tmp_path / "nothing", tmp_path) == 16


def test_this_machine_has_what_its_affinity_says() -> None:
    assert usable_cores() == sorted(os.sched_getaffinity(0))
    assert 1 <= core_count() <= len(usable_cores())
