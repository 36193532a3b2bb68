"""Use and memory of the GPU that a worker runs on, as `celery inspect stats` shows them."""

from __future__ import annotations

import os
from typing import Any

from worker.runtime.nvml import NvmlUnavailableError, asked, opened_nvml


def gpu_stats(device: str, cuda: Any) -> dict[str, Any] | None:
    """What torch and NVIDIA's management library report about a GPU.

    A figure that this GPU or user is refused is None, such as the use of a MIG instance.

    Args:
        device: `cuda:N`, or `cpu`.
        cuda: The module `torch.cuda`.

    Returns:
        None on a CPU. Without the management library torch's figures alone, and the reason.
    """
    if not device.startswith("cuda"):
        return None
    stats: dict[str, Any] = {
        "device": device,
        "torch_allocated_bytes": cuda.memory_allocated(device),
        "torch_reserved_bytes": cuda.memory_reserved(device),
    }
    try:
        with opened_nvml() as nvml:
            return stats | _reported(nvml, str(cuda.get_device_properties(device).uuid))
    except NvmlUnavailableError as error:
        return stats | {"unavailable": str(error)}


def _reported(nvml: Any, uuid: str) -> dict[str, Any]:
    handle = _handle(nvml, uuid)
    if handle is None:
        raise NvmlUnavailableError(f"NVIDIA's management library does not know the GPU {uuid}.")
    memory = asked(nvml, nvml.nvmlDeviceGetMemoryInfo, handle)
    use = asked(nvml, nvml.nvmlDeviceGetUtilizationRates, handle)
    milliwatts = asked(nvml, nvml.nvmlDeviceGetPowerUsage, handle)
    return {
        "name": asked(nvml, nvml.nvmlDeviceGetName, handle),
        "uuid": asked(nvml, nvml.nvmlDeviceGetUUID, handle),
        "use_percent": use and use.gpu,
        "memory_used_bytes": memory and memory.used,
        "memory_total_bytes": memory and memory.total,
        "memory_of_this_process_bytes": _own_memory(nvml, handle),
        "temperature_celsius": asked(
            nvml, nvml.nvmlDeviceGetTemperature, handle, nvml.NVML_TEMPERATURE_GPU
        ),
        "power_watts": None if milliwatts is None else milliwatts / 1000,
    }


def _handle(nvml: Any, uuid: str) -> Any:
    """The GPU whose UUID torch gives without the prefix, which says whether it is a whole one."""
    found = (
        asked(nvml, nvml.nvmlDeviceGetHandleByUUID, kind + uuid) for kind in ("GPU-", "MIG-", "")
    )
    return next((handle for handle in found if handle is not None), None)


def _own_memory(nvml: Any, handle: Any) -> int | None:
    """None in a container that numbers processes otherwise than the host."""
    processes = asked(nvml, nvml.nvmlDeviceGetComputeRunningProcesses, handle) or ()
    return next((each.usedGpuMemory for each in processes if each.pid == os.getpid()), None)
