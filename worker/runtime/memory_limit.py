"""How much memory this process may take, be it limited by a container or by the machine."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path

from worker.runtime.control_groups import group_limits, number_of, text_of

_KIB = 1024
_UNLIMITED = 1 << 60  # cgroup v1 says something near 2 ** 63


def memory_left(root: Path = Path("/")) -> int | None:
    """Bytes on top of what this process takes: by the least of all limits.

    Of a control group counts all that is in it, but for pages of files that can be dropped.

    Args:
        root: Of the file system, for tests.

    Returns:
        None where nothing is known, as on macOS.
    """
    machine = _table(root / "proc/meminfo").get("MemAvailable")
    known = [] if machine is None else [machine]
    known += group_limits(root, "memory", _version_2, _version_1)
    known += _limits(_table(root / "proc/self/status"))
    return max(0, min(known)) if known else None


def _version_2(group: Path) -> int | None:
    limits = [number_of(group / "memory.max"), number_of(group / "memory.high")]
    known = [limit for limit in limits if limit is not None]
    used = number_of(group / "memory.current")
    if not known or used is None:
        return None
    return min(known) - used + _droppable(group, "inactive_file", "active_file")


def _version_1(group: Path) -> int | None:
    limit, used = (
        number_of(group / "memory.limit_in_bytes"),
        number_of(group / "memory.usage_in_bytes"),
    )
    if limit is None or used is None or limit >= _UNLIMITED:
        return None
    return limit - used + _droppable(group, "total_inactive_file", "total_active_file")


def _droppable(group: Path, *names: str) -> int:
    pairs = (line.split() for line in text_of(group / "memory.stat").splitlines())
    return sum(int(pair[1]) for pair in pairs if len(pair) == 2 and pair[0] in names)


def _limits(status: dict[str, int]) -> Iterator[int]:
    for limit, used in ((resource.RLIMIT_AS, "VmSize"), (resource.RLIMIT_DATA, "VmData")):
        most = resource.getrlimit(limit)[0]
        if most != resource.RLIM_INFINITY and used in status:
            yield most - status[used]


def _table(file: Path) -> dict[str, int]:
    """The lines `Name:  123 kB` of a file in /proc, in bytes."""
    words = (line.split() for line in text_of(file).splitlines())
    return {
        each[0].rstrip(":"): int(each[1]) * _KIB
        for each in words
        if len(each) == 3 and each[2] == "kB"
    }
