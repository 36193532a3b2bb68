"""docs/kubernetes.md: its helm commands and its files of values are accepted by the chart."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml
from support.chart import CHART, REDIS, render
from support.deploy_tools import ROOT, run_tool

PAGE = (ROOT / "docs" / "kubernetes.md").read_text()
VALUES = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
COMMANDS = re.findall(r"^\$ helm upgrade --install (.*)$", PAGE.replace("\\\n", ""), re.MULTILINE)


@pytest.mark.parametrize("values", VALUES)
def test_each_file_of_values_is_accepted_as_it_stands(values: str, tmp_path: Path):
    path = tmp_path / "values.yaml"
    path.write_text(values)
    deployment = yaml.safe_load(values)
    assert deployment["secretSettings"]["REDIS_URL"] == {"name": "redis", "key": "url"}
    finished = run_tool("helm", "template", "r", CHART, "--values", path)
    assert finished.returncode == 0, finished.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_each_helm_command_is_accepted_as_it_stands(command: str):
    name, chart, *arguments = shlex.split(command)
    assert (ROOT / chart) == CHART
    finished = run_tool("helm", "template", name, CHART, *arguments)
    assert finished.returncode == 0, finished.stdout
    assert f"name: {name}-clip-worker\n" in finished.stdout


def test_openshift_may_choose_the_user():
    values = "podSecurityContext.runAsUser=null,podSecurityContext.fsGroup=null"
    assert values in PAGE
    for manifest in render([REDIS, values]):
        if manifest["kind"] == "Deployment":
            context = manifest["spec"]["template"]["spec"]["securityContext"]
            assert "runAsUser" not in context
            assert "fsGroup" not in context
