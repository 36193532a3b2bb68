"""Checks the processor: its instructions, and how many cores a worker uses."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from clip_worker.quoting import quote
from worker.cli.doctor.finding import Finding, ok, warning
from worker.runtime.control_groups import text_of
from worker.runtime.cores import cores, cpu_limit

if TYPE_CHECKING:
    from worker.settings import Settings

FAST = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "amx_bf16", "asimd", "i8mm")
ENOUGH = ("avx2", "asimd")  # of x86-64 and of ARM
VNNI = ("avx512_vnni", "avx_vnni", "amx_int8", "i8mm")
BFLOAT16 = ("avx512_bf16", "amx_bf16", "bf16")


def check_processor(settings: Settings, root: Path = Path("/")) -> Finding:
    """Whether it is fast at what the model needs."""
    flags, here, limit = _flags(root), cores(root=root), cpu_limit(root)
    fast = ", ".join(flag for flag in FAST if flag in flags) or "none of the vector instructions"
    limited = "" if limit is None else f" of a CPU limit of {limit:g}"
    found = f"{here} core{'' if here == 1 else 's'}{limited}, with {fast}."
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
    return ok(found)


def _flags(root: Path) -> set[str]:
    for line in text_of(root / "proc/cpuinfo").splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return set(value.split())
    return set()
