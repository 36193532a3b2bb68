"""What `pip install clip-worker` gives without the extra `worker`, and what the wheel says."""

from __future__ import annotations

import zipfile
from email import message_from_string
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from support.client_install import ROOT, client_requirements, link_client_packages, run_client

from benchmarks.client_install import PACKAGES, build_wheel
from worker.cli.entry import NEEDS_WORKER
from worker.extra import MODULES

INSTALL = 'pip install "clip-worker[worker]"'
LEFT_OUT = {"clip_engine/demo/evaluation.json"}  # what the demo model's card is made from


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the client's packages."""
    folder = tmp_path_factory.mktemp("client")
    link_client_packages(folder)
    return folder


def test_what_only_the_worker_needs_is_not_there(client: Path):
    code = f"from importlib.util import find_spec; print(list(filter(find_spec, {MODULES})))"

    assert run_client(client, "-c", code).stdout == "[]\n"


def test_all_that_the_client_exports_is_there(client: Path):
    code = "import clip_worker; from clip_worker import *; Client().close()"

    done = run_client(client, "-W", "error", "-c", code)

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("command", NEEDS_WORKER)
def test_a_command_of_the_worker_says_which_extra_to_install(client: Path, command: str):
    done = run_client(client, "-m", "worker.cli", command, "--help")

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"clip-worker: `clip-worker {command}` needs the module torch, which is not installed; "
        f"install the worker: {INSTALL}\n"
    )


@pytest.mark.parametrize("arguments", [["worker"], ["inspect", "ping"]])
def test_celerys_own_command_says_it_too(client: Path, arguments: list[str]):
    done = run_client(client, "-m", "celery", "-A", "worker", *arguments)

    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("Error: The worker needs the module torch")
    assert INSTALL in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "arguments", [["classify", "data:,", "--labels", "a"], ["dead", "list"], ["dead", "show", "x"]]
)
def test_a_command_of_the_client_runs_and_names_what_it_lacks(client: Path, arguments: list[str]):
    url = "redis://localhost:1"
    done = run_client(client, "-m", "worker.cli", *arguments, CLIP_WORKER_REDIS_URL=url)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"clip-worker: Redis at {url} can't be used")


@pytest.mark.slow
def test_the_wheel_requires_the_client_only_and_has_all_files(tmp_path: Path):
    # when
    wheel = build_wheel(tmp_path)
    # then
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        [described] = [name for name in names if name.endswith("/METADATA")]
        fields = message_from_string(archive.read(described).decode())
    required = [Requirement(line) for line in fields.get_all("Requires-Dist", [])]
    assert {str(one) for one in required if one.marker is None} == {
        str(Requirement(line)) for line in client_requirements()
    }
    for_client = {"watch", "parquet", "sql", "xmp"}
    for_worker = {"demo", "models", "otel", "lancedb", "s3", "gcs", "azure"}
    assert {*fields.get_all("Provides-Extra", [])} == {"worker", *for_client, *for_worker}
    for extra in for_worker:  # each brings the worker
        on = {"extra": extra}
        found = [one for one in required if one.marker is not None and one.marker.evaluate(on)]
        assert any((one.name, one.extras) == ("clip-worker", {"worker"}) for one in found), extra
    files = {
        str(path.relative_to(ROOT)) for name in PACKAGES for path in (ROOT / name).rglob("*.*")
    }
    assert {name for name in files if not name.endswith(".pyc")} - LEFT_OUT <= {*names}
