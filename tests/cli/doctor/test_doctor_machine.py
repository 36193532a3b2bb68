"""What the doctor finds about the model, the device and the machine."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest
import torch

from clip_engine.weights import catalog
from worker.cli.doctor import machine, model
from worker.cli.doctor.device import check_device
from worker.cli.doctor.processor import check_processor
from worker.settings import Settings

RN50 = catalog.PUBLISHED["RN50"].filename


@pytest.fixture
def cpu(tmp_path):
    """Makes a file system with such a processor."""

    def cpu(flags: str, quota: str = "max 100000") -> Path:
        (tmp_path / "proc").mkdir()
        (tmp_path / "proc/self").mkdir()
        (tmp_path / "proc/self/cgroup").write_text("0::/\n")
        (tmp_path / "proc/cpuinfo").write_text(f"processor : 0\nflags\t\t: {flags}\n")
        (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
        (tmp_path / "sys/fs/cgroup/cpu.max").write_text(f"{quota}\n")
        return tmp_path

    return cpu


def test_weights_that_are_not_here_may_not_be_downloaded_offline(tmp_path) -> None:
    finding = model.check_files(Settings(model="RN50", cache_dir=tmp_path, offline=True))
    assert finding.status == "problem"
    assert "CLIP_WORKER_OFFLINE forbids" in finding.found


def test_weights_that_are_not_here_can_not_be_reached(tmp_path) -> None:
    settings = Settings(model="RN50", cache_dir=tmp_path, mirror="http://127.0.0.1:1/clip")
    finding = model.check_files(settings)
    assert finding.status == "problem"
    assert "127.0.0.1 can't be reached" in finding.found


def test_weights_that_can_be_downloaded_are_a_warning(tmp_path, server_port) -> None:
    settings = Settings(
        model="RN50", cache_dir=tmp_path, mirror=f"http://127.0.0.1:{server_port}/clip"
    )
    finding = model.check_files(settings)
    assert finding.status == "warning"
    assert "clip-worker models download RN50" in finding.remedy


@pytest.fixture
def server_port():
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_weights_with_a_wrong_hash_are_a_problem(tmp_path) -> None:
    (tmp_path / RN50).write_bytes(b"not a model")
    finding = model.check_files(Settings(model="RN50", cache_dir=tmp_path))
    assert finding.status == "problem"
    assert "is damaged" in finding.found


def test_a_model_that_nobody_knows_is_a_problem() -> None:
    finding = model.check_files(Settings(model="ViT-B/33"))
    assert finding.status == "problem"
    assert "ViT-B/33" in finding.found


def test_a_model_larger_than_the_memory_is_a_problem(monkeypatch) -> None:
    monkeypatch.setattr(model, "memory_left", lambda: 1 << 20)
    assert model.check_size(Settings(model="demo")).status == "problem"


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_gpu_that_is_not_there_is_a_problem() -> None:
    finding = check_device(Settings(device="cuda:0"))
    assert finding.status == "problem"
    assert "finds no GPU" in finding.found


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "auto", "int8"])
def test_the_cpu_computes_in_each_precision(precision) -> None:
    finding = check_device(Settings(device="cpu", precision=precision))
    assert finding.status == "ok", finding
    assert "computes on the CPU" in finding.found


def test_a_processor_without_avx2_is_a_warning(cpu) -> None:
    assert check_processor(Settings(), cpu("sse4_2")).status == "warning"


def test_a_precision_without_instructions_is_a_warning(cpu) -> None:
    root = cpu("avx2 avx512f")
    assert check_processor(Settings(device="cpu", precision="int8"), root).status == "warning"
    assert check_processor(Settings(device="cpu", precision="float32"), root).status == "ok"


def test_a_containers_limit_is_named(cpu) -> None:
    finding = check_processor(Settings(), cpu("avx2", "50000 100000"))
    assert (finding.status, finding.found) == (
        "ok",
        "1 core of a CPU limit of 0.5, with avx2.",
    )


def test_too_few_open_files_are_a_problem(monkeypatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (64, 64))
    assert "ulimit -n" in machine.check_open_files(Settings()).remedy


def test_a_file_root_that_is_not_there_is_a_problem(tmp_path) -> None:
    finding = machine.check_file_roots(Settings(file_roots=(tmp_path, tmp_path / "gone")))
    assert finding.status == "problem"
    assert f"{tmp_path / 'gone'} of" in finding.found


def test_a_cache_folder_on_a_full_disk_is_a_warning(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(machine, "LEAST_DISK_BYTES", 1 << 60)
    finding = machine.check_cache_folder(Settings(cache_dir=tmp_path / "new"))
    assert finding.status == "warning"
    assert "Free disk space" in finding.remedy


def test_no_temporary_folder_is_a_problem_where_gpus_are_shared_out(monkeypatch) -> None:
    def fail(*_, **__):
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr(machine.tempfile, "TemporaryFile", fail)
    assert machine.check_temporary_folder(Settings(device="auto")).status == "problem"
    assert machine.check_temporary_folder(Settings(device="cpu")).status == "warning"


def test_memory_for_images_beyond_the_limit_is_a_problem(monkeypatch) -> None:
    monkeypatch.setattr(machine, "memory_left", lambda: 1 << 20)
    finding = machine.check_image_memory(Settings(image_memory_bytes=2 << 20))
    assert finding.status == "problem"
