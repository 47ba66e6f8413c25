"""How many cores there are to use."""

import os
from pathlib import Path

import pytest

from multiworker.supervisor import cores
from multiworker.supervisor.cores import core_count, usable_cores

MOUNTS = """\
22 1 0:21 / /proc rw,nosuid shared:12 - proc proc rw
31 23 0:28 / HERE ro,nosuid - tmpfs tmpfs rw,mode=755
32 31 0:29 / HERE/v1 rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
33 31 0:30 / HERE/cpuset rw,relatime - cgroup cgroup rw,cpuset
41 31 0:38 / HERE/v2 rw,relatime - cgroup2 cgroup2 rw,nsdelegate
"""
"""A hybrid: v1 and v2 beside each other, neither of them at /sys/fs/cgroup itself."""
IN_A_CONTAINER = """\
50 45 0:27 /docker/abc HERE/v2 ro,nosuid master:9 - cgroup2 cgroup rw
51 45 0:33 /docker/abc HERE/v1 ro,nosuid master:9 - cgroup cgroup rw,cpu,cpuacct
"""


@pytest.fixture
def sixteen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with 16 cores."""
    monkeypatch.setattr(cores, "usable_cores", lambda: list(range(16)))


def machine(folder: Path, cgroup: str, files: dict[str, str], mounts: str = MOUNTS) -> Path:
    """Write what the kernel shows of a process and its cgroups, recorded as text.

    Args:
        folder: for all files.
        cgroup: of /proc/self.
        files: of the cgroup file systems, which are mounted below it.
        mounts: mountinfo of /proc/self; HERE stands for the folder.
    """
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text + "\n")
    process = folder / "self"
    process.mkdir()
    (process / "cgroup").write_text(cgroup)
    (process / "mountinfo").write_text(mounts.replace("HERE", str(folder)))
    return process


@pytest.mark.usefixtures("sixteen")
@pytest.mark.parametrize(
    ("cgroup", "files", "count"),
    [
        ("0::/a\n", {}, 16),
        ("0::/a\n", {"v2/a/cpu.max": "max 100000"}, 16),
        ("0::/a\n", {"v2/a/cpu.max": "200000 100000"}, 2),
        ("0::/a\n", {"v2/a/cpu.max": "150000 100000"}, 2),
        ("0::/a\n", {"v2/a/cpu.max": "1000 100000"}, 1),
        ("0::/a\n", {"v2/a/cpu.max": "9900000 100000"}, 16),
        ("0::/a/b/c\n", {"v2/a/b/c/cpu.max": "max 100000", "v2/a/cpu.max": "300000 100000"}, 3),
        ("0::/a/b\n", {"v2/a/b/cpu.max": "400000 100000", "v2/a/cpu.max": "300000 100000"}, 3),
        ("0::/not/shown/here\n", {"v2/cpu.max": "500000 100000"}, 5),
        ("0::/a\n", {"v2/b/cpu.max": "200000 100000"}, 16),
        ("0::/a\n", {"v2/a/cpu.max": "nonsense"}, 16),
        ("0::/with:colon\n", {"v2/with:colon/cpu.max": "200000 100000"}, 2),
        (
            "4:cpu,cpuacct:/x\n0::/x\n",
            {"v1/x/cpu.cfs_quota_us": "350000", "v1/x/cpu.cfs_period_us": "100000"},
            4,
        ),
        (
            "4:cpu,cpuacct:/x/y\n",
            {"v1/x/cpu.cfs_quota_us": "200000", "v1/x/cpu.cfs_period_us": "100000"},
            2,
        ),
        ("4:cpu:/x\n", {"v1/x/cpu.cfs_quota_us": "-1", "v1/x/cpu.cfs_period_us": "100000"}, 16),
        ("4:cpu:/x\n", {"v1/x/cpu.cfs_quota_us": "1", "v1/x/cpu.cfs_period_us": "0"}, 16),
        ("4:cpuset:/x\n", {"cpuset/x/cpu.cfs_quota_us": "1", "cpuset/x/cpu.cfs_period_us": "1"}, 16),
    ],
)
def test_the_tightest_quota_counts_rounded_up(tmp_path: Path, cgroup: str, files: dict[str, str], count: int) -> None:
    assert core_count(machine(tmp_path, cgroup, files)) == count


@pytest.mark.usefixtures("sixteen")
@pytest.mark.parametrize(
    ("cgroup", "files", "count"),
    [
        ("0::/docker/abc\n", {"v2/cpu.max": "200000 100000"}, 2),
        ("0::/docker/abc/job\n", {"v2/job/cpu.max": "200000 100000"}, 2),
        ("0::/docker/abcdef\n", {"v2/def/cpu.max": "200000 100000"}, 16),
        ("0::/\n", {"v2/cpu.max": "200000 100000"}, 2),
        ("0::/../../other\n", {"v2/cpu.max": "200000 100000", "other/cpu.max": "100000 100000"}, 2),
        (
            "3:cpu,cpuacct:/docker/abc\n",
            {"v1/cpu.cfs_quota_us": "350000", "v1/cpu.cfs_period_us": "100000"},
            4,
        ),
    ],
)
def test_a_container_sees_its_own_part(tmp_path: Path, cgroup: str, files: dict[str, str], count: int) -> None:
    assert core_count(machine(tmp_path, cgroup, files, IN_A_CONTAINER)) == count


@pytest.mark.usefixtures("sixteen")
def test_a_mount_point_may_have_blanks(tmp_path: Path) -> None:
    mounts = "41 31 0:38 / HERE/my\\040groups rw - cgroup2 cgroup2 rw\n"
    assert core_count(machine(tmp_path, "0::/a\n", {"my groups/a/cpu.max": "200000 100000"}, mounts)) == 2


@pytest.mark.usefixtures("sixteen")
def test_without_cgroups_affinity_counts(tmp_path: Path) -> None:
    assert core_count(tmp_path / "nothing") == 16


def test_this_machine_has_what_its_affinity_says() -> None:
    assert usable_cores() == sorted(os.sched_getaffinity(0))
    assert 1 <= core_count() <= len(usable_cores())
