"""How many cores a process uses, as the files of Linux say it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from worker.runtime.cores import cores, cpu_limit


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine of 16 cores."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    return tmp_path


def write(root: Path, name: str, text: str) -> None:
    file = root / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"{text}\n")


def test_without_a_limit_all_cores_are_used(root: Path) -> None:
    write(root, "proc/self/cgroup", "0::/")
    write(root, "sys/fs/cgroup/cpu.max", "max 100000")
    assert (cores(root=root), cpu_limit(root)) == (16, None)


@pytest.mark.parametrize(
    ("quota", "used"), [("400000 100000", 4), ("250000 100000", 3), ("50000 100000", 1)]
)
def test_a_containers_limit_is_rounded_up(root: Path, quota: str, used: int) -> None:
    write(root, "proc/self/cgroup", "0::/")
    write(root, "sys/fs/cgroup/cpu.max", quota)
    assert cores(root=root) == used


def test_of_nested_control_groups_the_narrowest_counts(root: Path) -> None:
    write(root, "proc/self/cgroup", "0::/pods/worker")
    write(root, "sys/fs/cgroup/pods/cpu.max", "200000 100000")
    write(root, "sys/fs/cgroup/pods/worker/cpu.max", "800000 100000")
    assert cpu_limit(root) == 2.0


def test_the_first_version_of_control_groups_has_its_own_files(root: Path) -> None:
    write(root, "proc/self/cgroup", "4:cpu,cpuacct:/docker/abc")
    write(root, "sys/fs/cgroup/cpu/cpu.cfs_quota_us", "600000")
    write(root, "sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000")
    assert cores(root=root) == 6
    write(root, "sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1")
    assert cores(root=root) == 16


def test_workers_of_one_machine_share_what_is_allowed(root: Path) -> None:
    write(root, "proc/self/cgroup", "0::/")
    write(root, "sys/fs/cgroup/cpu.max", "400000 100000")
    assert (cores(2, root), cores(8, root)) == (2, 1)
