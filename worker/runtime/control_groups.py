"""Reads the limits of Linux's control groups, of both versions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

Limit = TypeVar("Limit", int, float)


def group_limits(
    root: Path,
    controller: str,
    version_2: Callable[[Path], Limit | None],
    version_1: Callable[[Path], Limit | None],
) -> Iterator[Limit]:
    """The limits of this process's group and of all above it.

    Args:
        root: Of the file system.
        controller: Such as `memory` or `cpu`.
        version_2: Reads a group's folder of cgroup v2; None without a limit.
        version_1: The same for cgroup v1.
    """
    for line in text_of(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            yield from _group_and_above(root / "sys/fs/cgroup", path, version_2)
        elif controller in controllers.split(","):
            yield from _group_and_above(root / "sys/fs/cgroup" / controller, path, version_1)


def _group_and_above(
    mount: Path, path: str, read: Callable[[Path], Limit | None]
) -> Iterator[Limit]:
    """Each group up to the root. In a container the path may be the host's, and lead nowhere."""
    group: Path = mount / path.strip("/")
    for folder in (group, *group.parents):
        if (limit := read(folder)) is not None:
            yield limit
        if folder == mount:
            return


def text_of(file: Path) -> str:
    """What a file says; nothing where it can't be read."""
    try:
        return file.read_text()
    except OSError:
        return ""


def number_of(file: Path) -> int | None:
    """The number that a file says; None where it says something else."""
    text = text_of(file).strip()
    return int(text) if text.isdigit() else None
