"""What a worker finds out about GPUs, on machines whose GPUs, files and torch are made up."""

from __future__ import annotations

import inspect
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.fake_pynvml import FUNCTIONS, FakeGpu, FakePynvml

from worker.cli.supervisor.count import choose_workers
from worker.runtime import visible_gpus
from worker.runtime.device import usable_gpus
from worker.runtime.gpu import gpu_stats
from worker.runtime.nvml import NvmlUnavailableError
from worker.runtime.unusable_gpu import unusable_gpu
from worker.runtime.visible_gpus import Gpu, find_gpus, gpu_files, visible_units
from worker.settings import Settings

INSTANCES = (FakeGpu("MIG-1", is_instance=True), FakeGpu("MIG-2", is_instance=True))
GPUS = (FakeGpu("GPU-aa"), FakeGpu("GPU-ab"), FakeGpu("GPU-c", INSTANCES))
UNITS = [Gpu("GPU-aa"), Gpu("GPU-ab"), Gpu("GPU-c", ("MIG-1", "MIG-2"))]


def file(root: Path, name: str) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def use(monkeypatch: pytest.MonkeyPatch, module: object) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", module)


def test_the_real_package_has_all_that_the_fake_has() -> None:
    pynvml = pytest.importorskip("pynvml", reason="nvidia-ml-py is not installed")
    fake = FakePynvml()
    for name in FUNCTIONS:
        theirs = inspect.signature(getattr(pynvml, name)).parameters.values()
        required = [each for each in theirs if each.default is each.empty]
        ours = inspect.signature(getattr(fake, f"_{name.removeprefix('nvml')}")).parameters
        assert len(required) == len(ours), name
    assert pynvml.NVML_TEMPERATURE_GPU == fake.NVML_TEMPERATURE_GPU
    assert issubclass(pynvml.NVMLError, Exception)


# --- which are visible ---


@pytest.mark.parametrize(
    ("setting", "units"),
    [
        (None, ["GPU-aa", "GPU-ab", "MIG-1", "MIG-2"]),
        ("", []),
        ("-1", []),
        ("1,0", ["GPU-ab", "GPU-aa"]),
        ("1, 1", ["GPU-ab"]),
        ("2", ["MIG-1", "MIG-2"]),
        ("0,7,1", ["GPU-aa"]),  # what follows a wrong entry does not count
        ("GPU-ab,0", ["GPU-ab", "GPU-aa"]),
        ("GPU-c", ["MIG-1", "MIG-2"]),
        ("GPU-a", []),  # of two GPUs
        ("MIG-2,MIG-GPU-c/1/0", ["MIG-2", "MIG-GPU-c/1/0"]),
    ],
)
def test_the_visible_gpus_are_those_that_cuda_would_use(
    setting: str | None, units: list[str]
) -> None:
    assert visible_units(UNITS, setting) == units


@pytest.mark.parametrize("name", ["proc/driver/nvidia/gpus/0000:01:00.0", "dev/nvidia0", "dev/dxg"])
def test_a_gpu_shows_as_a_file(tmp_path: Path, name: str) -> None:
    file(tmp_path, "dev/nvidiactl")  # the driver's, with or without a GPU
    assert gpu_files(tmp_path) == []
    shown = file(tmp_path, name)
    assert gpu_files(tmp_path) == [shown]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> FakePynvml:
    """A machine with GPUs, of which the environment hides none, and a torch with CUDA."""
    fake = FakePynvml(GPUS)
    use(monkeypatch, fake)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(visible_gpus, "gpu_files", lambda: [Path("/dev/nvidia0")])
    monkeypatch.setattr(visible_gpus, "find_spec", lambda _: None)
    return fake


def torch_build(monkeypatch: pytest.MonkeyPatch, folder: Path, cuda: str) -> None:
    text = f"__version__ = '2.15.0'\ncuda: Optional[str] = {cuda}\nhip: Optional[str] = None\n"
    file(folder, "torch/version.py").write_text(text)
    spec = SimpleNamespace(origin=str(folder / "torch" / "__init__.py"))
    monkeypatch.setattr(visible_gpus, "find_spec", lambda _: spec)


def test_gpus_and_mig_instances_are_counted_without_torch(
    machine: FakePynvml, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    torch_build(monkeypatch, tmp_path, "'13.2'")
    assert find_gpus() == ["GPU-aa", "GPU-ab", "MIG-1", "MIG-2"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,1")
    assert find_gpus() == ["MIG-1", "MIG-2", "GPU-ab"]
    assert machine.calls[-1] == "nvmlShutdown"


def test_a_torch_without_cuda_has_no_gpus(
    machine: FakePynvml, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    torch_build(monkeypatch, tmp_path, "None")
    assert find_gpus() == []
    assert machine.calls == []


# --- how many workers ---


@pytest.mark.parametrize(
    ("settings", "found", "count", "visible"),
    [
        ({}, [], 1, None),
        ({}, ["GPU-a"], 1, None),
        ({}, ["GPU-a", "GPU-b"], 2, None),
        ({"device": "cuda"}, ["GPU-a", "GPU-b"], 2, None),
        ({}, ["MIG-a"], 1, None),
        ({}, ["MIG-a", "MIG-b", "GPU-c"], 3, "MIG-a,MIG-b,GPU-c"),
        ({"workers": 6}, ["MIG-a", "MIG-b"], 6, "MIG-a,MIG-b"),
        ({"workers": 3}, [], 3, None),
        ({"workers": 1}, ["MIG-a", "MIG-b"], 1, None),
        ({"device": "cuda:0"}, ["GPU-a", "GPU-b"], 1, None),
        ({"device": "cuda:0", "workers": 2}, ["GPU-a", "GPU-b"], 2, None),
        ({"device": "cuda:MIG-a", "workers": 2}, ["MIG-a", "MIG-b"], 2, None),
        ({"device": "cpu"}, ["GPU-a", "GPU-b"], 1, None),
    ],
)
def test_there_is_a_worker_for_each_gpu_unless_it_is_set(
    settings: dict[str, Any], found: list[str], count: int, visible: str | None
) -> None:
    said: list[str] = []
    chosen = choose_workers(Settings(**settings), said.append, find=lambda: found)
    assert chosen == (count, {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible})
    assert said == []


@pytest.mark.parametrize(("workers", "sentences"), [(None, 1), (2, 0)])
def test_gpus_that_can_t_be_counted_have_one_worker_and_the_reason_is_said(
    workers: int | None, sentences: int
) -> None:
    def find() -> list[str]:
        raise NvmlUnavailableError("The package nvidia-ml-py is not installed.")

    said: list[str] = []
    assert choose_workers(Settings(workers=workers), said.append, find=find)[0] == (workers or 1)
    assert len(said) == sentences
    assert all("nvidia-ml-py is not installed. CLIP_WORKER_WORKERS sets" in each for each in said)


# --- their use and memory ---


class FakeCuda:
    """`torch.cuda` with one device in use."""

    def __init__(self, uuid: str = "aa", devices: int = 1, error: str = "") -> None:
        self._uuid = uuid
        self._devices = devices
        self._error = error

    def memory_allocated(self, _device: str) -> int:
        return 1 << 30

    def memory_reserved(self, _device: str) -> int:
        return 3 << 29

    def get_device_properties(self, _device: str) -> SimpleNamespace:
        return SimpleNamespace(uuid=self._uuid)

    def is_available(self) -> bool:
        return not self._error

    def device_count(self) -> int:
        return self._devices

    def init(self) -> None:
        if self._error:
            raise RuntimeError(self._error)


TORCHS = {
    "device": "cuda:0",
    "torch_allocated_bytes": 1 << 30,
    "torch_reserved_bytes": 3 << 29,
}


def test_a_gpu_is_shown_as_nvidia_smi_would(machine: FakePynvml) -> None:
    assert gpu_stats("cuda:0", FakeCuda()) == TORCHS | {
        "name": "NVIDIA H100",
        "uuid": "GPU-aa",
        "use_percent": 87,
        "memory_used_bytes": 10 << 30,
        "memory_total_bytes": 80 << 30,
        "memory_of_this_process_bytes": 2 << 30,
        "temperature_celsius": 61,
        "power_watts": 412.345,
    }


def test_what_a_mig_instance_does_not_tell_is_none(machine: FakePynvml) -> None:
    stats = gpu_stats("cuda:0", FakeCuda("1"))
    assert stats is not None
    assert (stats["uuid"], stats["memory_used_bytes"]) == ("MIG-1", 10 << 30)
    unknown = ("use_percent", "temperature_celsius", "power_watts")
    assert [stats[name] for name in unknown] == [None] * 3


@pytest.mark.parametrize(
    ("module", "uuid", "reason"),
    [
        (None, "aa", "nvidia-ml-py is not installed"),
        (FakePynvml(GPUS, fails="Driver Not Loaded"), "aa", "Driver Not Loaded"),
        (FakePynvml(GPUS), "strange", "does not know the GPU strange"),
    ],
)
def test_without_nvidias_library_torch_s_memory_is_shown_and_the_reason(
    monkeypatch: pytest.MonkeyPatch, module: FakePynvml | None, uuid: str, reason: str
) -> None:
    use(monkeypatch, module)
    stats = gpu_stats("cuda:0", FakeCuda(uuid))
    assert stats is not None
    assert reason in stats.pop("unavailable")
    assert stats == TORCHS


def test_a_cpu_has_no_gpu_stats() -> None:
    assert gpu_stats("cpu", FakeCuda()) is None


# --- one that torch can't use ---

CUDA = SimpleNamespace(cuda="13.2", hip=None)
TOO_OLD = "The NVIDIA driver on your system is too old (found version 11040). Please update it."


def torch(version: object = CUDA, error: str = "") -> SimpleNamespace:
    return SimpleNamespace(__version__="2.15.0", version=version, cuda=FakeCuda(error=error))


@pytest.mark.parametrize(
    ("module", "visible", "reason"),
    [
        (torch(SimpleNamespace(cuda=None, hip=None)), None, "torch 2.15.0 is a build without CUDA"),
        (torch(), "", "CUDA_VISIBLE_DEVICES is '', which hides every GPU"),
        (torch(), "-1", "CUDA_VISIBLE_DEVICES is '-1', which hides every GPU"),
        (torch(error=TOO_OLD), None, "too old (found version 11040). Please update it."),
        (torch(), None, "CUDA finds no device; `nvidia-smi -L`"),
    ],
)
def test_why_torch_can_t_use_a_gpu_is_said_with_the_remedy(
    tmp_path: Path, module: SimpleNamespace, visible: str | None, reason: str
) -> None:
    gpu = file(tmp_path, "dev/nvidia0")
    environment = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    warning = unusable_gpu(module, root=tmp_path, environment=environment)
    assert warning is not None
    assert warning.startswith(f"A GPU is visible ({gpu}), but torch can't use it: ")
    assert reason in warning
    assert "CLIP_WORKER_DEVICE=cpu" in warning


def test_a_gpu_that_this_user_may_not_open_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu = file(tmp_path, "dev/nvidia0")
    monkeypatch.setattr(os, "access", lambda path, _mode: path != str(gpu))
    warning = unusable_gpu(torch(), root=tmp_path, environment={})
    assert f"this user may not open {gpu}; add the user" in str(warning)


def test_without_a_gpu_of_nvidia_nothing_is_said(tmp_path: Path) -> None:
    assert unusable_gpu(torch(), root=tmp_path, environment={}) is None
    file(tmp_path, "dev/nvidia0")
    rocm = torch(SimpleNamespace(cuda=None, hip="6.4"))
    assert unusable_gpu(rocm, root=tmp_path, environment={}) is None


def test_gpus_of_a_driver_that_is_too_old_are_not_usable() -> None:
    assert usable_gpus(FakeCuda(devices=2)) == 2
    assert usable_gpus(FakeCuda(devices=2, error=TOO_OLD)) == 0
