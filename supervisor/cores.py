"""How many cores this process may use: affinity and every cgroup limit above it."""

import math
import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

SELF = Path("/proc/self")


def usable_cores() -> list[int]:
    """Return the numbers of the cores that children may be pinned to.

    Returns:
        The cores of the affinity mask, ascending.
    """
    return sorted(os.sched_getaffinity(0))


def core_count(process: Path = SELF) -> int:
    """Count the cores that may be used.

    Args:
        process: where the kernel tells this process's cgroups (cgroup) and where they are mounted (mountinfo), proc(5).

    Returns:
        The smaller of affinity and CPU quota over all ancestors, rounded up, at least 1.
    """
    quotas = [_quota_v2(folder) for folder in _ancestors(process, "")]
    quotas += [_quota_v1(folder) for folder in _ancestors(process, "cpu")]
    limits = [quota for quota in quotas if quota is not None]
    return max(1, min([len(usable_cores()), *[math.ceil(limit) for limit in limits]]))


def _ancestors(process: Path, controller: str) -> list[Path]:
    """Return the folders of a process's cgroup of a controller ('' is v2) and of all its ancestors that are mounted."""
    try:
        groups = (process / "cgroup").read_text()
        mounts = (process / "mountinfo").read_text()
    except OSError:
        return []
    folders: list[Path] = []
    for group in _groups(groups, controller):
        for root, point in _mounts(mounts, controller):
            leaf = point / (group.relative_to(root) if group.is_relative_to(root) else "")
            folders += [leaf, *[folder for folder in leaf.parents if folder.is_relative_to(point)]]
    return folders


def _groups(text: str, controller: str) -> Iterator[PurePosixPath]:
    """Read lines like '4:cpu,cpuacct:/path' of /proc/PID/cgroup; '..' is out of the namespace."""
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            yield PurePosixPath("/" if ".." in path.split("/") else path)


def _mounts(text: str, controller: str) -> Iterator[tuple[PurePosixPath, Path]]:
    """Read /proc/PID/mountinfo: which part of the hierarchy lies where; a container often sees its own part only."""
    for line in text.splitlines():
        place, _, system = line.partition(" - ")
        kind, _, options = system.split()[:3]
        if kind == ("cgroup" if controller else "cgroup2") and (not controller or controller in options.split(",")):
            root, point = map(_unescaped, place.split()[3:5])
            yield PurePosixPath(root), Path(point)


def _unescaped(text: str) -> str:
    r"""Read a path of mountinfo: blanks and the like are written as \040."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def _quota_v2(folder: Path) -> float | None:
    """Read cpu.max: 'QUOTA PERIOD' in us, or 'max PERIOD' (kernel documentation, cgroup-v2)."""
    try:
        quota, period = (folder / "cpu.max").read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        return None


def _quota_v1(folder: Path) -> float | None:
    """Read cpu.cfs_quota_us, -1 for none, and cpu.cfs_period_us (kernel documentation, cgroup-v1)."""
    try:
        quota = int((folder / "cpu.cfs_quota_us").read_text())
        return None if quota < 0 else quota / int((folder / "cpu.cfs_period_us").read_text())
    except (OSError, ValueError, ZeroDivisionError):
        return None
