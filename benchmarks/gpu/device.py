"""What the device is, and how fast it multiplies."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.rates import matrix_rate
from benchmarks.gpu.report import Options, Report

NVIDIA_SMI = (
    ("nvidia-smi", "-L"),
    (
        "nvidia-smi",
        "--query-gpu=driver_version,pstate,clocks.sm,power.limit,ecc.mode.current",
        "--format=csv",
    ),
)
SMI_LIMIT_S = 10.0


def measure(options: Options, report: Report) -> None:
    """Name, driver, versions, memory, cores, and the rate of matrix products."""
    about = _host() | (_gpu(options) if options.cuda else {"name": "CPU"})
    for name, value in about.items():
        report.record(name, value)
        report.say(f"{name}: {value}")
    report.row("device", f"{about['name']}, torch {torch.__version__}, {about['cores']} cores")
    for precision in ("float16", "bfloat16") if options.cuda else ("float32",):
        rate = matrix_rate(options, precision)
        report.record(f"matrix_rate_{precision}", rate)
        report.row(f"matrix products, {precision}", f"{rate / 1e12:,.2f} TFLOP/s")
        report.say(f"{precision}: {rate / 1e12:,.2f} TFLOP/s in a product of square matrices")


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _host() -> dict[str, Any]:
    return {
        "cores": cores(),
        "cpu": _cpu(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "system": f"{platform.system()} {platform.machine()}",
    }


def _cpu() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())


def _gpu(options: Options) -> dict[str, Any]:
    properties = torch.cuda.get_device_properties(options.device)
    free, total = torch.cuda.mem_get_info(options.device)
    return {
        "name": properties.name,
        "cuda": torch.version.cuda,
        "capability": f"{properties.major}.{properties.minor}",
        "multiprocessors": properties.multi_processor_count,
        "memory_bytes": total,
        "free_bytes": free,
        "uuid": str(getattr(properties, "uuid", "unknown to this torch")),
        "devices": torch.cuda.device_count(),
        "visible": os.environ.get("CUDA_VISIBLE_DEVICES", "not set"),
        "nvidia_smi": [_output(command) for command in NVIDIA_SMI],  # MIG instances, driver
    }


def _output(command: tuple[str, ...]) -> str:
    if not shutil.which(command[0]):
        return f"there is no {command[0]}"
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=SMI_LIMIT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return f"{command[0]} did not answer for {SMI_LIMIT_S:g} s"
    return (done.stdout + done.stderr).strip()
