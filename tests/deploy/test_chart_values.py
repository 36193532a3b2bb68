"""The chart's values: schema, defaults and README name the same ones."""

from __future__ import annotations

import yaml
from build_chart_readme import README, readme
from support.chart import CHART, schema

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
