"""Checks the processor: its instructions, and how many cores there are."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from clip_worker.quoting import quote
from worker.cli.doctor.finding import Finding, ok, warning
from worker.runtime.assembly import cores

if TYPE_CHECKING:
    from worker.settings import Settings

FAST = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "amx_bf16", "asimd", "i8mm")
ENOUGH = ("avx2", "asimd")  # of x86-64 and of ARM
VNNI = ("avx512_vnni", "avx_vnni", "amx_int8", "i8mm")
BFLOAT16 = ("avx512_bf16", "amx_bf16", "bf16")


def check_processor(settings: Settings, root: Path = Path("/")) -> Finding:
    """Whether it is fast at what the model needs, and whether a quota leaves it enough cores."""
    flags, here = _flags(root), cores()
    fast = ", ".join(flag for flag in FAST if flag in flags) or "none of the vector instructions"
    found = f"{here} core{'' if here == 1 else 's'}, with {fast}."
    if flags and not flags & set(ENOUGH):
        return warning(
            f"{found} Without AVX2 the model runs several times slower.",
            "Run on a newer processor, or expose its instructions to the virtual machine.",
        )
    precision, needed = settings.precision, {"int8": VNNI, "bfloat16": BFLOAT16}
    if flags and settings.device == "cpu" and not flags & set(needed.get(precision, flags)):
        return warning(
            f"{found} The precision {quote(precision)} has no instructions of its own here, and "
            "may be slower than float32.",
            "Measure with `clip-worker tune`, or set CLIP_WORKER_PRECISION=auto.",
        )
    quota = _quota(root)
    if quota is not None and math.ceil(quota) < here:
        return warning(
            f"{found} A CPU limit of {quota:g} cores is shared by threads for {here}, which are "
            "then stopped for part of each tenth of a second.",
            "Pin the container to cores (cpuset, Kubernetes' static CPU policy), or set "
            f"CLIP_WORKER_REPLICAS and CLIP_WORKER_PREPARATION_PROCESSES to {math.ceil(quota)}.",
        )
    return ok(found)


def _flags(root: Path) -> set[str]:
    for line in _text(root / "proc/cpuinfo").splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return set(value.split())
    return set()


def _quota(root: Path) -> float | None:
    """Cores that the control group may use at a time, None without a limit."""
    words = _text(root / "sys/fs/cgroup/cpu.max").split()
    if len(words) == 2 and words[0].isdigit():
        return int(words[0]) / int(words[1])
    folder = root / "sys/fs/cgroup/cpu"
    quota, period = _text(folder / "cpu.cfs_quota_us"), _text(folder / "cpu.cfs_period_us")
    if quota.strip().isdigit() and period.strip().isdigit():
        return int(quota) / int(period)
    return None


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""
