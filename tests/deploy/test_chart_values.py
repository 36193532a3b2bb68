"""The chart's values: schema, defaults and README name the same ones."""

from __future__ import annotations

import yaml
from build_chart_readme import README, readme
from support.chart import CHART, KEDA, REDIS, arguments, schema
from support.deploy_tools import run_tool

from clip_worker.version import __version__


def test_the_readme_lists_every_value_with_its_default():
    assert README.read_text(encoding="utf-8") == readme()


def test_schema_and_defaults_have_the_same_values():
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert paths(schema()) - {"global"} == names(values, schema())


def paths(about: dict, prefix: str = "") -> set[str]:
    found = set()
    for name, each in about["properties"].items():
        found |= paths(each, f"{prefix}{name}.") if "properties" in each else {prefix + name}
    return found


def names(values: dict, about: dict, prefix: str = "") -> set[str]:
    found = set()
    for name, value in values.items():
        inner = about["properties"].get(name, {})
        is_group = "properties" in inner
        found |= names(value, inner, f"{prefix}{name}.") if is_group else {prefix + name}
    return found


def test_the_chart_installs_the_version_that_it_is_part_of():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["appVersion"] == __version__


def test_what_helm_prints_in_the_end_says_how_to_look_at_the_workers():
    values = [REDIS, KEDA, "settings.QUEUE=photos"]
    installed = run_tool("helm", "install", "r", CHART, "--dry-run=client", *arguments(values))
    assert installed.returncode == 0, installed.stdout
    notes = installed.stdout.partition("NOTES:")[2]
    assert 'takes tasks from the queue "photos".' in notes
    assert "exec deployment/r-clip-worker -- clip-worker health" in notes
    assert "KEDA runs 0 to 4 workers." in notes
