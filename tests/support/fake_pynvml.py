# ruff: noqa: N802  # the functions have the names that NVIDIA gave them
"""A module `pynvml` with GPUs that are made up: the functions that clip-worker calls."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

FUNCTIONS = (
    "nvmlInit",
    "nvmlShutdown",
    "nvmlDeviceGetCount",
    "nvmlDeviceGetHandleByIndex",
    "nvmlDeviceGetHandleByUUID",
    "nvmlDeviceGetUUID",
    "nvmlDeviceGetName",
    "nvmlDeviceGetMigMode",
    "nvmlDeviceGetMaxMigDeviceCount",
    "nvmlDeviceGetMigDeviceHandleByIndex",
    "nvmlDeviceGetMemoryInfo",
    "nvmlDeviceGetUtilizationRates",
    "nvmlDeviceGetComputeRunningProcesses",
    "nvmlDeviceGetTemperature",
    "nvmlDeviceGetPowerUsage",
)


@dataclass(frozen=True)
class FakeGpu:
    """A GPU, or a MIG instance, which is refused most figures."""

    uuid: str
    instances: tuple[FakeGpu, ...] | None = None
    is_instance: bool = False


class NVMLError(Exception):
    """As the real one, an exception class of the module."""


@dataclass
class FakePynvml:
    """The module; `calls` are the functions that were called."""

    gpus: tuple[FakeGpu, ...] = ()
    fails: str = ""
    NVMLError: type[Exception] = NVMLError
    NVML_TEMPERATURE_GPU: int = 0
    calls: list[str] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        if name not in FUNCTIONS:
            raise AttributeError(name)
        answer = getattr(self, f"_{name.removeprefix('nvml')}")

        def call(*arguments: Any) -> Any:
            self.calls.append(name)
            return answer(*arguments)

        return call

    def _Init(self) -> None:
        if self.fails:
            raise NVMLError(self.fails)

    def _Shutdown(self) -> None:
        pass

    def _DeviceGetCount(self) -> int:
        return len(self.gpus)

    def _DeviceGetHandleByIndex(self, index: int) -> FakeGpu:
        return self.gpus[index]

    def _DeviceGetHandleByUUID(self, uuid: str) -> FakeGpu:
        everything = [*self.gpus, *(each for gpu in self.gpus for each in gpu.instances or ())]
        for gpu in everything:
            if gpu.uuid == uuid:
                return gpu
        raise NVMLError("Not Found")

    def _DeviceGetUUID(self, gpu: FakeGpu) -> str:
        return gpu.uuid

    def _DeviceGetName(self, gpu: FakeGpu) -> str:
        return "NVIDIA H100 MIG 1g.10gb" if gpu.is_instance else "NVIDIA H100"

    def _DeviceGetMigMode(self, gpu: FakeGpu) -> list[int]:
        if gpu.is_instance:
            raise NVMLError("Not Supported")
        return [int(gpu.instances is not None), 0]

    def _DeviceGetMaxMigDeviceCount(self, _gpu: FakeGpu) -> int:
        return 7

    def _DeviceGetMigDeviceHandleByIndex(self, gpu: FakeGpu, index: int) -> FakeGpu:
        instances = gpu.instances or ()
        if index >= len(instances):
            raise NVMLError("Not Found")
        return instances[index]

    def _DeviceGetMemoryInfo(self, _gpu: FakeGpu) -> SimpleNamespace:
        return SimpleNamespace(total=80 << 30, free=70 << 30, used=10 << 30)

    def _DeviceGetUtilizationRates(self, gpu: FakeGpu) -> SimpleNamespace:
        if gpu.is_instance:
            raise NVMLError("Not Supported")
        return SimpleNamespace(gpu=87, memory=40)

    def _DeviceGetComputeRunningProcesses(self, _gpu: FakeGpu) -> list[SimpleNamespace]:
        return [
            SimpleNamespace(pid=1, usedGpuMemory=8 << 30),
            SimpleNamespace(pid=os.getpid(), usedGpuMemory=2 << 30),
        ]

    def _DeviceGetTemperature(self, gpu: FakeGpu, sensor: int) -> int:
        if gpu.is_instance or sensor != self.NVML_TEMPERATURE_GPU:
            raise NVMLError("Not Supported")
        return 61

    def _DeviceGetPowerUsage(self, gpu: FakeGpu) -> int:
        if gpu.is_instance:
            raise NVMLError("Not Supported")
        return 412_345
