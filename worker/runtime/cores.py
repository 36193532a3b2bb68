"""How many cores this process may use, be it pinned to some or limited by a container."""

from __future__ import annotations

import math
import os
from pathlib import Path

from worker.runtime.control_groups import group_limits, number_of, text_of


def cores(workers: int | None = None, root: Path = Path("/")) -> int:
    """Cores that this process may use: those that it is pinned to, and not more than its limit.

    With more threads than its limit a container is stopped for a part of each tenth of a second.

    Args:
        workers: `CLIP_WORKER_WORKERS`: each gets its share, and at least one.
        root: Of the file system, for tests.
    """
    linux = hasattr(os, "sched_getaffinity")
    here = len(os.sched_getaffinity(0)) if linux else os.cpu_count() or 1
    limit = cpu_limit(root)
    allowed = here if limit is None else min(here, math.ceil(limit))
    return max(1, allowed // (workers or 1))


def cpu_limit(root: Path = Path("/")) -> float | None:
    """Cores' worth of time that the control groups allow; None without a limit.

    Args:
        root: Of the file system, for tests.
    """
    return min(group_limits(root, "cpu", _version_2, _version_1), default=None)


def _version_2(group: Path) -> float | None:
    words = text_of(group / "cpu.max").split()
    if len(words) == 2 and all(word.isdigit() for word in words):
        return int(words[0]) / int(words[1])
    return None


def _version_1(group: Path) -> float | None:
    quota, period = number_of(group / "cpu.cfs_quota_us"), number_of(group / "cpu.cfs_period_us")
    return quota / period if quota is not None and period else None
