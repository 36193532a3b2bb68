"""The compose files: hardened, open to this machine alone, and valid where Docker is there."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from support.fences import fences

from worker.settings import Settings
from worker.variables import ENV_PREFIX, START_OPTIONS

ROOT = Path(__file__).parents[2]
FILES = ["docker-compose.yml", "docker-stack.yml"]
COMPOSE_FILES = [*FILES, "docker-compose.acl.yml"]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES = COMPOSE["services"]
DRAIN_S = 8  # docs/reliability.md: how long a stopping worker finishes images by default


def docker(*arguments: str, cwd: Path = ROOT) -> str:
    """What a docker command prints; without the command the test is left out."""
    program = shutil.which("docker")
    known = [program or "", arguments[0], "--help"]
    if program is None or subprocess.run(known, check=False, capture_output=True).returncode:
        pytest.skip(f"no `docker {arguments[0]}`: the file is checked by what else there is")
    done = subprocess.run(
        [program, *arguments], check=False, cwd=cwd, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", SERVICES)
def test_each_service_is_confined_limited_and_restarted(name: str):
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["logging"]["options"].keys() == {"max-size", "max-file"}
    assert {"mem_limit", "cpus"} <= service.keys()
    assert service["restart"] == "unless-stopped"


@pytest.mark.parametrize("name", SERVICES)
def test_ports_are_open_on_this_machine_alone(name: str):
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", []))


@pytest.mark.parametrize("name", ["worker", "worker-gpu"])
def test_a_worker_gets_all_of_env_and_has_more_time_to_stop_than_it_takes(name: str):
    service = SERVICES[name]
    assert service["env_file"] == [{"path": ".env", "required": False}]
    assert int(service["stop_grace_period"].removesuffix("s")) > 2 * DRAIN_S
    assert any(mount.endswith(":/pictures:ro") for mount in service["volumes"])


def test_the_example_of_env_names_settings_and_variables_that_there_are():
    text = (ROOT / ".env.example").read_text(encoding="utf-8")
    files = "".join((ROOT / file).read_text(encoding="utf-8") for file in COMPOSE_FILES)
    for name in re.findall(r"^(?:# )?([A-Z][A-Z_]+)=", text, re.MULTILINE):
        if name.startswith(ENV_PREFIX):
            option = name.removeprefix(ENV_PREFIX).lower()
            assert option in {*Settings.model_fields, *START_OPTIONS}
        else:
            assert f"${{{name}:" in files or name == "COMPOSE_PROFILES", name


@pytest.mark.parametrize("file", FILES)
def test_compose_lint_finds_nothing_grave(file: str, tmp_path: Path):
    # a copy, for it takes whatever lies in a clone under /root for part of the host
    copy = Path(shutil.copy(ROOT / file, tmp_path))
    linter = Path(sys.prefix) / "bin" / "compose-lint"
    found = subprocess.run([linter, copy], check=False, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout + found.stderr


def test_docker_compose_takes_the_files_with_and_without_redis_users():
    users = ["-f", "docker-compose.yml", "-f", "docker-compose.acl.yml"]
    everything = yaml.safe_load(docker("compose", "--profile", "*", "config"))
    assert everything["services"].keys() == SERVICES.keys()
    redis = yaml.safe_load(docker("compose", *users, "config"))["services"]["redis"]
    assert "--aclfile" in redis["command"]
    assert {mount["target"] for mount in redis["volumes"]} == {"/data", "/etc/redis/users.acl"}


def test_docker_compose_takes_the_gallery_beside_the_worker_and_confines_it():
    both = ["-f", "docker-compose.yml", "-f", "examples/gallery/compose.yml"]
    services = yaml.safe_load(docker("compose", *both, "config"))["services"]
    assert "CLIP_WORKER_EMBEDDING_STORE" in services["worker"]["environment"]
    gallery = services["gallery"]
    assert (gallery["read_only"], gallery["cap_drop"]) == (True, ["ALL"])
    assert gallery["security_opt"] == ["no-new-privileges:true"]
    assert [port["host_ip"] for port in gallery["ports"]] == ["127.0.0.1"]


def test_docker_compose_takes_the_service_that_watches_and_it_can_write_its_results(tmp_path: Path):
    page = fences((ROOT / "docs" / "watch.md").read_text(encoding="utf-8"))
    (example,) = (fence.code for fence in page if fence.language == "yaml")
    (tmp_path / "watch.yml").write_text(example, encoding="utf-8")
    both = ["-f", "docker-compose.yml", "-f", str(tmp_path / "watch.yml")]
    watch = yaml.safe_load(docker("compose", *both, "config"))["services"]["watch"]
    assert (watch["read_only"], watch["cap_drop"]) == (True, ["ALL"])
    assert watch["healthcheck"] == {"disable": True}  # the image's asks for a worker
    # of the image's user, as is then a new volume there; any other path would be root's
    assert f"{watch['working_dir']}\n" in (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert {mount["target"] for mount in watch["volumes"]} == {"/uploads", watch["working_dir"]}


def test_docker_stack_takes_its_file(tmp_path: Path):
    shutil.copy(ROOT / "docker-stack.yml", tmp_path)
    (tmp_path / ".env").write_text("CLIP_WORKER_MODEL=demo\n", encoding="utf-8")
    stack = docker("stack", "config", "--compose-file", "docker-stack.yml", cwd=tmp_path)
    worker = yaml.safe_load(stack)["services"]["worker"]
    assert worker["environment"]["CLIP_WORKER_MODEL"] == "demo"
