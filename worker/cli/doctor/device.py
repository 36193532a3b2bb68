"""Checks the device by computing on it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import torch

from clip_engine.errors import ClipEngineError
from worker.cli.doctor.finding import Finding, ok, problem, warning
from worker.runtime.device import VISIBLE, mig_list, usable_gpus
from worker.runtime.nvml import NvmlUnavailableError, opened_nvml
from worker.runtime.unusable_gpu import unusable_gpu

if TYPE_CHECKING:
    from worker.settings import Settings

SIDE = 64  # of the matrices
TOLERANCE = 0.05  # relative; half precision has 3 digits, bfloat16 2
MEND = "Mend the driver, or choose another CLIP_WORKER_DEVICE or CLIP_WORKER_PRECISION."


def check_device(settings: Settings) -> Finding:
    """Whether the device that is set is there, and computes right in the precision that is set."""
    wanted, gpus = settings.device, usable_gpus(torch.cuda)
    if wanted != "cpu" and not gpus:
        return _without_gpu(wanted)
    number = wanted.partition(":")[2]
    if number.isdigit() and int(number) >= max(gpus, len(mig_list(os.environ.get(VISIBLE, "")))):
        return problem(
            f"CLIP_WORKER_DEVICE is {wanted!r}, but torch sees {gpus} GPUs.",
            "Give the number of one that `nvidia-smi -L` lists, or auto.",
        )
    place = "cpu" if wanted == "cpu" else f"cuda:{number if number.isdigit() else 0}"
    return _computed(torch.device(place), settings)


def _without_gpu(wanted: str) -> Finding:
    reason = unusable_gpu(torch)
    if wanted != "auto":
        return problem(
            f"CLIP_WORKER_DEVICE is {wanted!r}, but torch {torch.__version__} finds no GPU. "
            f"{reason or ''}".strip(),
            "Install a build of torch with CUDA and a driver, or set CLIP_WORKER_DEVICE=cpu.",
        )
    if reason:
        return warning(reason, "Mend that, or set CLIP_WORKER_DEVICE=cpu.")
    return ok(f"There is no GPU, so the model runs on the CPU (torch {torch.__version__}).")


def _computed(device: torch.device, settings: Settings) -> Finding:
    usual = "float32" if device.type == "cpu" else "float16"
    precision = usual if settings.precision in ("auto", "int8") else settings.precision
    try:
        error = _product_error(device, getattr(torch, precision))
    except (RuntimeError, ClipEngineError) as failure:
        reason = str(failure).strip().partition("\n")[0]
        return problem(f"A product of matrices fails on {_name(device)}: {reason}.", MEND)
    if error > TOLERANCE:
        return problem(f"{_name(device)} computes wrongly in {precision}.", MEND)
    return ok(
        f"torch {torch.__version__} computes on {_name(device)} in {precision}{_driver(device)}."
    )


def _product_error(device: torch.device, dtype: torch.dtype) -> float:
    """Relative error of a product, which for numbers this small is exact in float64."""
    exact = torch.linspace(-1, 1, SIDE * SIDE, dtype=torch.float64).reshape(SIDE, SIDE)
    matrix = exact.to(device=device, dtype=dtype)
    product = (matrix @ matrix).to("cpu", torch.float64)
    expected = exact @ exact
    return float((product - expected).norm() / expected.norm())


def _name(device: torch.device) -> str:
    return "the CPU" if device.type == "cpu" else torch.cuda.get_device_name(device)


def _driver(device: torch.device) -> str:
    if device.type == "cpu":
        return ""
    try:
        with opened_nvml() as nvml:
            return f", driver {nvml.nvmlSystemGetDriverVersion()}"
    except (NvmlUnavailableError, OSError):
        return ""
