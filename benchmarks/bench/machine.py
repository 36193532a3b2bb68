"""What the figures were taken on: a table without its machine says nothing."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from worker.cli.demo.embedded_redis import find_server_program

PACKAGES = (
    "torch",
    "celery",
    "kombu",
    "redis",
    "celery-batches",
    "open_clip_torch",
    "transformers",
    "pillow",
)
# What matrix products gain from.
FLAGS = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16")


def describe(packages: Sequence[str] = PACKAGES) -> dict[str, Any]:
    """The machine and the versions, as JSON can hold them."""
    redis = find_server_program()
    return {
        "cpu": _cpu_model(),
        "cores": cores(),
        "flags": flags(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "redis-server": redis.version if redis else None,
        "packages": {name: metadata.version(name) for name in packages},
        "commit": _commit(),
    }


def sentence(machine: dict[str, Any]) -> str:
    """What `describe` gave, for a reader."""
    flags = f" ({', '.join(machine['flags'])})" if machine["flags"] else ""
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    return (
        f"Measured on {machine['cores']} cores of {machine['cpu']}{flags}, "
        f"{machine['memory_gib']:.0f} GiB, {machine['system']}; Python {machine['python']}, "
        f"Redis {machine['redis-server']}, {packages}."
    )


def busy() -> float:
    """The part of all cores that anybody uses for two seconds from now, 0 to 1.

    Taken before and after a section, it says whether the machine was quiet.
    """
    return round(float(psutil.cpu_percent(interval=2.0)) / 100, 3)


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cpu_model() -> str:
    for line in _cpu_lines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def flags() -> list[str]:
    """Instructions of the processor that matrix products gain from."""
    for line in _cpu_lines():
        if line.startswith("flags"):
            return [flag for flag in FLAGS if flag in line.split()]
    return []


def _cpu_lines() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def _commit() -> str | None:
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return answer.stdout.strip()
