"""How much memory this process may take, be it limited by a container or by the machine."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from pathlib import Path

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
    known += [*_groups(root), *_limits(_table(root / "proc/self/status"))]
    return max(0, min(known)) if known else None


def _groups(root: Path) -> Iterator[int]:
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            yield from _group_and_above(root / "sys/fs/cgroup", path, _version_2)
        elif "memory" in controllers.split(","):
            yield from _group_and_above(root / "sys/fs/cgroup/memory", path, _version_1)


def _group_and_above(mount: Path, path: str, read: Callable[[Path], int | None]) -> Iterator[int]:
    """Each group up to the root. In a container the path may be the host's, and lead nowhere."""
    group = mount / path.strip("/")
    for folder in (group, *group.parents):
        if (left := read(folder)) is not None:
            yield left
        if folder == mount:
            return


def _version_2(group: Path) -> int | None:
    limits = [_number(group / "memory.max"), _number(group / "memory.high")]
    known = [limit for limit in limits if limit is not None]
    used = _number(group / "memory.current")
    if not known or used is None:
        return None
    return min(known) - used + _droppable(group, "inactive_file", "active_file")


def _version_1(group: Path) -> int | None:
    limit, used = _number(group / "memory.limit_in_bytes"), _number(group / "memory.usage_in_bytes")
    if limit is None or used is None or limit >= _UNLIMITED:
        return None
    return limit - used + _droppable(group, "total_inactive_file", "total_active_file")


def _droppable(group: Path, *names: str) -> int:
    pairs = (line.split() for line in _text(group / "memory.stat").splitlines())
    return sum(int(pair[1]) for pair in pairs if len(pair) == 2 and pair[0] in names)


def _limits(status: dict[str, int]) -> Iterator[int]:
    for limit, used in ((resource.RLIMIT_AS, "VmSize"), (resource.RLIMIT_DATA, "VmData")):
        most = resource.getrlimit(limit)[0]
        if most != resource.RLIM_INFINITY and used in status:
            yield most - status[used]


def _table(file: Path) -> dict[str, int]:
    """The lines `Name:  123 kB` of a file in /proc, in bytes."""
    words = (line.split() for line in _text(file).splitlines())
    return {
        each[0].rstrip(":"): int(each[1]) * _KIB
        for each in words
        if len(each) == 3 and each[2] == "kB"
    }


def _number(file: Path) -> int | None:
    text = _text(file).strip()
    return int(text) if text.isdigit() else None


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""
