"""Each metric and label that alerts and dashboard name is one that a worker or the exporter has."""

from __future__ import annotations

import re

import pytest
from support.metric_names import alert_expressions, dashboard_expressions, metrics_of

from worker.metrics.catalogue import METRICS

EXPRESSIONS = [*alert_expressions(), *dashboard_expressions()]
OF_PROCESS = {
    "process_start_time_seconds",
    "process_resident_memory_bytes",
    "process_cpu_seconds_total",
}
OF_TARGETS = {"namespace", "instance", "job", "le"}  # Prometheus' own
PARTS = {"histogram": ("_bucket", "_sum", "_count")}
BY = re.compile(r"\b(?:by|on) \(([^)]*)\)")
SELECTED = re.compile(r'(\w+)=~?"')


def series() -> set[str]:
    """Names as they are queried: of a histogram those of its parts."""
    return {metric.full_name + part for metric in METRICS for part in PARTS.get(metric.kind, ("",))}


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_each_metric_and_label_exists(expression: str):
    named = metrics_of(expression)
    assert not named - series() - OF_PROCESS
    labels = {label for metric in METRICS for label in metric.labels} | OF_TARGETS
    used = {name.strip() for names in BY.findall(expression) for name in names.split(",")}
    assert not (used | set(SELECTED.findall(expression))) - labels


def test_each_metric_is_on_the_dashboard_or_in_an_alert():
    named = set().union(*map(metrics_of, EXPRESSIONS))
    unused = {
        metric.full_name
        for metric in METRICS
        if not any(name.startswith(metric.full_name) for name in named)
    }
    assert unused <= {"clip_worker_images_per_second", "clip_worker_usual_images_per_second"}
