"""Which NVIDIA GPUs and MIG instances are visible, without torch and without initialising CUDA."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from worker.runtime.device import MIG, VISIBLE
from worker.runtime.nvml import asked, opened_nvml

_DEVICE_FILES = ("proc/driver/nvidia/gpus/*", "dev/nvidia[0-9]*", "dev/dxg")  # the last: WSL's
_NO_CUDA = re.compile(r"^cuda\b.*=\s*None\s*$", re.MULTILINE)


@dataclass(frozen=True)
class Gpu:
    """A GPU of this machine.

    Attributes:
        uuid: `GPU-…`.
        instances: UUIDs of its MIG instances; None where MIG is off.
    """

    uuid: str
    instances: tuple[str, ...] | None = None

    @property
    def units(self) -> tuple[str, ...]:
        """UUIDs of what a worker can have for itself."""
        return (self.uuid,) if self.instances is None else self.instances


def gpu_files(root: Path = Path("/")) -> list[Path]:
    """Files by which the system shows that there is an NVIDIA GPU.

    Args:
        root: Of the file system, for tests.
    """
    return sorted(file for pattern in _DEVICE_FILES for file in root.glob(pattern))


def find_gpus() -> list[str]:
    """UUIDs of the visible GPUs, and of the MIG instances in the place of those that have some.

    None are found where torch is built without CUDA.

    Raises:
        NvmlUnavailableError: There are some, but nothing tells which.
    """
    if not gpu_files() or _torch_lacks_cuda():
        return []
    with opened_nvml() as nvml:
        return visible_units(_gpus(nvml), os.environ.get(VISIBLE))


def visible_units(gpus: Sequence[Gpu], setting: str | None) -> list[str]:
    """UUIDs of the GPUs and MIG instances that CUDA may use.

    >>> visible_units([Gpu("GPU-a"), Gpu("GPU-b", ("MIG-c", "MIG-d"))], "1,0")
    ['MIG-c', 'MIG-d', 'GPU-a']

    Args:
        gpus: All GPUs of the machine.
        setting: `CUDA_VISIBLE_DEVICES`: numbers, or beginnings of UUIDs. As for CUDA, what follows
            a wrong entry does not count. None for all.
    """
    if setting is None:
        return [unit for gpu in gpus for unit in gpu.units]
    found: list[str] = []
    for entry in (entry.strip() for entry in setting.split(",")):
        units = _named(gpus, entry)
        if not units:
            break
        found += units
    return list(dict.fromkeys(found))


def _named(gpus: Sequence[Gpu], entry: str) -> tuple[str, ...]:
    if entry.isdigit():
        return gpus[int(entry)].units if int(entry) < len(gpus) else ()
    if entry.startswith(MIG):
        return (entry,)
    fitting = [gpu for gpu in gpus if entry and gpu.uuid.startswith(entry)]
    return fitting[0].units if len(fitting) == 1 else ()


def _gpus(nvml: Any) -> list[Gpu]:
    handles = [nvml.nvmlDeviceGetHandleByIndex(i) for i in range(nvml.nvmlDeviceGetCount())]
    return [Gpu(nvml.nvmlDeviceGetUUID(handle), _instances(nvml, handle)) for handle in handles]


def _instances(nvml: Any, handle: Any) -> tuple[str, ...] | None:
    mode = asked(nvml, nvml.nvmlDeviceGetMigMode, handle)
    if not mode or not mode[0]:  # now, and after the next reset
        return None
    places = range(nvml.nvmlDeviceGetMaxMigDeviceCount(handle))
    found = (asked(nvml, nvml.nvmlDeviceGetMigDeviceHandleByIndex, handle, i) for i in places)
    return tuple(nvml.nvmlDeviceGetUUID(each) for each in found if each is not None)


def _torch_lacks_cuda() -> bool:
    """Whether torch is a build for CPUs, read from its files: importing it takes seconds."""
    torch = find_spec("torch")
    if torch is None or torch.origin is None:
        return True
    try:
        return bool(_NO_CUDA.search(Path(torch.origin).with_name("version.py").read_text()))
    except OSError:
        return False
