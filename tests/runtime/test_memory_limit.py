"""How much memory a process may take, as the files of Linux say it."""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING

import pytest

from worker.runtime.memory_limit import memory_left

if TYPE_CHECKING:
    from pathlib import Path

GIB = 1024**3
STATUS = "Name:\tcelery\nVmSize:\t 3145728 kB\nVmRSS:\t 1048576 kB\nVmData:\t 2097152 kB\n"
MACHINE = "MemTotal: 67108864 kB\nMemFree: 1 kB\nMemAvailable: 33554432 kB\nHugePages_Total: 0\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A machine of 64 GiB with half of it free, and a process that takes one."""
    write(tmp_path, "proc/self/status", STATUS)
    write(tmp_path, "proc/meminfo", MACHINE)
    return tmp_path


def write(root: Path, name: str, text: object) -> None:
    file = root / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"{text}")


def group_v2(root: Path, path: str, limit: object, used: int, *, droppable: int = 0) -> None:
    folder = f"sys/fs/cgroup/{path}"
    write(root, f"{folder}/memory.max", f"{limit}\n")
    write(root, f"{folder}/memory.high", "max\n")
    write(root, f"{folder}/memory.current", used)
    write(root, f"{folder}/memory.stat", f"anon 5\nactive_file {droppable}\ninactive_file 0\n")


def test_without_a_limit_the_machine_is_the_limit(root: Path) -> None:
    assert memory_left(root) == 32 * GIB


def test_a_control_group_counts_without_what_can_be_dropped(root: Path) -> None:
    write(root, "proc/self/cgroup", "0::/\n")
    group_v2(root, "", 4 * GIB, 3 * GIB, droppable=GIB)
    assert memory_left(root) == 2 * GIB


def test_the_soft_limit_of_a_control_group_counts_too(root: Path) -> None:
    write(root, "proc/self/cgroup", "0::/\n")
    group_v2(root, "", 4 * GIB, GIB)
    write(root, "sys/fs/cgroup/memory.high", 3 * GIB)
    assert memory_left(root) == 2 * GIB


def test_of_nested_control_groups_the_narrowest_counts(root: Path) -> None:
    write(root, "proc/self/cgroup", "0::/pods/worker\n")
    group_v2(root, "pods", 8 * GIB, 7 * GIB)
    group_v2(root, "pods/worker", "max", 2 * GIB)
    assert memory_left(root) == GIB


def test_a_container_that_sees_its_own_group_as_the_root_is_found(root: Path) -> None:
    write(root, "proc/self/cgroup", "0::/kubepods/the/path/on/the/host\n")
    group_v2(root, "", 2 * GIB, GIB)
    assert memory_left(root) == GIB


def test_control_groups_of_the_first_version_are_read(root: Path) -> None:
    write(root, "proc/self/cgroup", "9:cpu,cpuacct:/x\n4:memory:/worker\n1:name=systemd:/\n")
    folder = "sys/fs/cgroup/memory/worker"
    write(root, f"{folder}/memory.limit_in_bytes", 4 * GIB)
    write(root, f"{folder}/memory.usage_in_bytes", 3 * GIB)
    write(root, f"{folder}/memory.stat", f"total_inactive_file {GIB}\ncache 77\n")
    write(root, "sys/fs/cgroup/memory/memory.limit_in_bytes", 2**63 - 4096)
    write(root, "sys/fs/cgroup/memory/memory.usage_in_bytes", 5 * GIB)
    assert memory_left(root) == 2 * GIB


@pytest.mark.parametrize(
    ("limit", "left"), [(resource.RLIMIT_AS, 2 * GIB), (resource.RLIMIT_DATA, 3 * GIB)]
)
def test_the_limits_of_the_process_count(
    root: Path, monkeypatch: pytest.MonkeyPatch, limit: int, left: int
) -> None:
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    monkeypatch.setattr(
        resource, "getrlimit", lambda asked: (5 * GIB, 5 * GIB) if asked == limit else unlimited
    )
    assert memory_left(root) == left


def test_more_than_the_limit_in_use_leaves_nothing(root: Path) -> None:
    write(root, "proc/self/cgroup", "0::/\n")
    group_v2(root, "", GIB // 2, GIB)
    assert memory_left(root) == 0


def test_where_nothing_is_known_nothing_is_said(tmp_path: Path) -> None:
    assert memory_left(tmp_path) is None


def test_files_that_say_something_else_are_passed_over(root: Path) -> None:
    write(root, "proc/self/cgroup", "0::/\n")
    write(root, "sys/fs/cgroup/memory.max", "much\n")
    write(root, "sys/fs/cgroup/memory.current", "")
    assert memory_left(root) == 32 * GIB
