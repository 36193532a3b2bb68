"""deploy/systemd: systemd accepts the unit and finds it confined, and it leaves enough time."""

from __future__ import annotations

import sys
from configparser import RawConfigParser, SectionProxy
from pathlib import Path

import pytest
from support.deploy_tools import DEPLOY, ROOT, run_tool
from support.fences import fences

from worker.cli.output.usage_error import WRONG_INPUT_STATUS
from worker.settings import Settings
from worker.settings.limits import IMAGES_DRAIN_S

SYSTEMD = DEPLOY / "systemd"
UNIT = SYSTEMD / "clip-worker.service"
INSTALLED = "/opt/clip-worker/bin/clip-worker"
MOST_EXPOSED = 20  # of 100


def service() -> SectionProxy:
    parser = RawConfigParser(strict=False)
    parser.optionxform = str
    parser.read(UNIT)
    return parser["Service"]


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit with its drop-in for GPUs, and with a program that is there."""
    drop_in = tmp_path / "clip-worker.service.d" / "gpu.conf"
    drop_in.parent.mkdir()
    drop_in.write_text((SYSTEMD / "gpu.conf").read_text())
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace(INSTALLED, sys.executable))
    return copy


def test_systemd_accepts_the_unit_and_its_drop_in(unit: Path):
    verified = run_tool("systemd-analyze", "verify", "--man=no", unit)
    assert verified.returncode == 0, verified.stdout
    assert "clip-worker" not in verified.stdout  # no warning about it either


def test_a_misspelt_key_would_be_found(unit: Path):
    unit.write_text(unit.read_text().replace("PrivateTmp=", "PrivateTemp="))
    assert "PrivateTemp" in run_tool("systemd-analyze", "verify", "--man=no", unit).stdout


def test_systemd_accepts_the_service_that_watches(tmp_path: Path):
    page = fences((ROOT / "docs" / "watch.md").read_text(encoding="utf-8"))
    (example,) = (fence.code for fence in page if fence.language == "ini")
    copy = tmp_path / "clip-watch.service"
    copy.write_text(example.replace(INSTALLED, sys.executable))
    verified = run_tool("systemd-analyze", "verify", "--man=no", copy)
    assert verified.returncode == 0, verified.stdout
    assert "clip-watch" not in verified.stdout


def test_systemd_finds_the_service_confined(unit: Path):
    command = ("security", "--offline=true", f"--threshold={MOST_EXPOSED}")
    rated = run_tool("systemd-analyze", *command, unit)
    assert rated.returncode == 0, rated.stdout
    assert "exposure level" in rated.stdout


def test_a_stop_leaves_time_for_what_is_in_flight():
    assert float(service()["TimeoutStopSec"]) > 2 * IMAGES_DRAIN_S
    assert service()["KillMode"] == "mixed"


def test_wrong_settings_are_not_tried_again_and_all_else_is():
    assert service()["Restart"] == "on-failure"
    assert service()["RestartPreventExitStatus"] == str(WRONG_INPUT_STATUS)


def test_the_example_of_settings_is_valid(monkeypatch: pytest.MonkeyPatch):
    lines = (SYSTEMD / "clip-worker.env").read_text().splitlines()
    for line in lines:
        if line and not line.startswith("#"):
            monkeypatch.setenv(*line.split("=", 1))
    assert Settings.load().model == "ViT-B/32"
