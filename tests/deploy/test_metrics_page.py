"""The queries on the page about metrics are valid, and name metrics that exist."""

from __future__ import annotations

import json
import re
from pathlib import Path

from support.deploy_tools import run_tool
from support.metric_names import metrics_of

from worker.metrics.catalogue import METRICS

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"
BLOCK = re.compile(r"```promql\n(.*?)```", re.DOTALL)
BEGINNING = re.compile(r"^(?=[a-z])", re.MULTILINE)  # what continues a query is indented, or closes


def queries() -> list[str]:
    """Each query of the page."""
    blocks = BLOCK.findall(PAGE.read_text())
    return [query.strip() for block in blocks for query in BEGINNING.split(block) if query.strip()]


def test_the_queries_name_metrics_that_exist():
    known = {metric.full_name for metric in METRICS}
    named = set().union(*map(metrics_of, queries()))
    assert len(queries()) > 8
    assert {re.sub("_(sum|count|bucket)$", "", name) for name in named} <= known


def test_promtool_accepts_the_queries(tmp_path: Path):
    rules = [{"record": f"q:{i}", "expr": query} for i, query in enumerate(queries())]
    path = tmp_path / "rules.json"  # JSON is YAML
    path.write_text(json.dumps({"groups": [{"name": "page", "rules": rules}]}))
    checked = run_tool("promtool", "check", "rules", path)
    assert checked.returncode == 0, checked.stdout
