"""How many cores this process may use: affinity and every cgroup limit above it."""

import math
import os
from pathlib import Path

CGROUP_ROOT = Path("/sys/fs/cgroup")


def usable_cores() -> list[int]:
    """Return the numbers of the cores that children may be pinned to.

    Returns:
        The cores of the affinity mask, ascending.
    """
    return sorted(os.sched_getaffinity(0))


def core_count(cgroup_file: Path = Path("/proc/self/cgroup"), root: Path = CGROUP_ROOT) -> int:
    """Count the cores that may be used.

    Args:
        cgroup_file: where the kernel tells this process's cgroups.
        root: where cgroup file systems are mounted.

    Returns:
        The smaller of affinity and CPU quota over all ancestors, rounded up, at least 1.
    """
    quotas = [_quota_v2(folder) for folder in _ancestors(cgroup_file, root, "")]
    quotas += [_quota_v1(folder) for folder in _ancestors(cgroup_file, root, "cpu")]
    limits = [quota for quota in quotas if quota is not None]
    return max(1, min([len(usable_cores()), *[math.ceil(limit) for limit in limits]]))


def _ancestors(cgroup_file: Path, root: Path, controller: str) -> list[Path]:
    """Return the folders of this process's cgroup of a controller ('' is v2) and of all its ancestors."""
    try:
        lines = cgroup_file.read_text().splitlines()
    except OSError:
        return []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            base = root / controllers if controllers else root
            leaf = base / path.lstrip("/")
            return [leaf, *[folder for folder in leaf.parents if folder.is_relative_to(base)]]
    return []


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
