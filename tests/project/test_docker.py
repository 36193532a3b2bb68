"""The Dockerfile: its build context, its layers' requirements, and what hadolint says of it."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
CONSTRAINTS = ROOT / "constraints.txt"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def copied() -> set[str]:
    """What the Dockerfile copies from the repository."""
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    copies = (
        line.split()[1:-1] for line in lines if line.startswith("COPY ") and "--from=" not in line
    )
    return {source for sources in copies for source in sources}


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """scripts/image_requirements.py."""
    path = ROOT / "scripts" / "image_requirements.py"
    spec = importlib.util.spec_from_file_location("image_requirements", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_the_dockerfile_copies_is_there_and_is_not_ignored():
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    passed = {line.removeprefix("!") for line in lines if line.startswith("!")}
    assert {source.rstrip("/") for source in copied()} == passed
    assert all((ROOT / source).exists() for source in copied())


def test_all_packages_are_copied():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    packages = project["tool"]["setuptools"]["packages"]["find"]["include"]
    assert {name.removesuffix("*") for name in packages} <= copied()


def test_hadolint_finds_nothing_in_the_dockerfile():
    hadolint = Path(sys.prefix) / "bin" / "hadolint"
    found = subprocess.run(
        [hadolint, ROOT / "Dockerfile"], check=False, capture_output=True, text=True
    )
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")


def test_torchs_layers_have_exact_versions_of_torch_and_of_its_cuda_libraries_alone(
    script: ModuleType,
):
    layers = script.torch_layers(CONSTRAINTS.read_text(encoding="utf-8"))
    names = {
        file: {line.partition("==")[0] for line in lines if "==" in line}
        for file, lines in layers.items()
    }
    assert names["torch-cpu.txt"] == {"torch", "torchvision"}
    added = names["torch-cuda.txt"] - names["torch-cpu.txt"]
    assert "nvidia-cublas" in added
    assert all(name.startswith(("nvidia-", "cuda-", "triton")) for name in added)
    assert "nvidia-ml-py" not in added  # is in the other layer, and small


def test_another_package_s_version_changes_no_layer_of_torch(script: ModuleType):
    before = CONSTRAINTS.read_text(encoding="utf-8")
    after = before.replace("\namqp==", "\namqp==9.")
    assert after != before
    assert script.torch_layers(after) == script.torch_layers(before)


def test_torchs_layers_see_no_file_that_another_package_or_an_extra_changes():
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    stages = re.split(r"^FROM ", dockerfile, flags=re.MULTILINE)
    for kind in ("cpu", "cuda"):
        (stage,) = (each for each in stages if each.startswith(f"system AS torch-{kind}\n"))
        assert re.findall(r"source=([^,]*)", stage) == [f"/requirements/torch-{kind}.txt"]


def test_the_worker_s_layer_needs_the_client_the_worker_and_the_wanted_extras(script: ModuleType):
    lines = script.requirements(PROJECT, "s3, gcs")
    optional = PROJECT["optional-dependencies"]
    assert set(PROJECT["dependencies"]) | set(optional["worker"]) <= set(lines)
    assert any(line.startswith("s3fs") for line in lines)
    assert any(line.startswith("gcsfs") for line in lines)
    assert not any(line.startswith("clip-worker") for line in lines)


def test_an_unknown_extra_is_named_with_those_that_there_are(script: ModuleType):
    with pytest.raises(SystemExit, match=r"EXTRAS names s4, .*it has .*s3"):
        script.requirements(PROJECT, "s4")
