"""The metrics that PromQL expressions name, and those that the alerts and the dashboard name."""

from __future__ import annotations

import json
import re

import yaml
from support.deploy_tools import DEPLOY

METRIC = re.compile(r"\b(?:clip_worker|process)_[a-z0-9_]+\b")
ALERTS = DEPLOY / "prometheus" / "alerts.yml"
DASHBOARD = DEPLOY / "grafana" / "dashboards" / "clip-worker.json"


def metrics_of(expr: str) -> set[str]:
    """Without those that only a quoted string names."""
    return set(METRIC.findall(re.sub(r'"[^"]*"', '""', expr)))


def alert_rules() -> list[dict]:
    groups = yaml.safe_load(ALERTS.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def alert_expressions() -> list[str]:
    return [rule["expr"] for rule in alert_rules()]


def dashboard_expressions() -> list[str]:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    return [target["expr"] for panel in panels for target in panel.get("targets", [])]
