"""What one of several workers of a machine takes by default: its share of cores and memory."""

from __future__ import annotations

import os

import pytest

from clip_engine import load_engine
from worker.runtime import assembly
from worker.settings import Settings

GIB = 1024**3
CORES = 8


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(CORES)), raising=False)
    monkeypatch.setattr(assembly, "memory_left", lambda: 6 * GIB)


@pytest.mark.parametrize(
    ("workers", "cores", "memory_bytes"),
    [
        (None, 8, 3 * GIB),
        (1, 8, 3 * GIB),
        (2, 4, 3 * GIB // 2),
        (3, 2, GIB),
        (16, 1, 6 * GIB // 32),
    ],
)
def test_workers_share_the_cores_and_what_memory_is_left(
    workers: int | None, cores: int, memory_bytes: int
) -> None:
    settings = Settings(workers=workers)
    engine = load_engine("demo", precision="float32")
    prepared = assembly.preparation_settings(settings, engine, 1, 1)
    assert prepared.processes == assembly.replicas(settings, "cpu") == cores
    assert assembly.image_memory_bytes(settings) == memory_bytes


def test_what_is_set_is_each_workers() -> None:
    settings = Settings(workers=4, replicas=3, preparation_processes=5, image_memory_bytes=GIB)
    engine = load_engine("demo", precision="float32")
    assert assembly.preparation_settings(settings, engine, 1, 1).processes == 5
    assert assembly.replicas(settings, "cpu") == 3
    assert assembly.image_memory_bytes(settings) == GIB
