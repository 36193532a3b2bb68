"""Writes deploy/grafana/dashboards/clip-worker.json, Grafana's dashboard for clip-worker.

    .venv/bin/python scripts/build_dashboard.py

The panels are listed in scripts/dashboard/rows.py; this file lays them out as Grafana wants them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dashboard.panel import Panel, Query
from dashboard.rows import ROWS

PATH = Path(__file__).parents[1] / "deploy" / "grafana" / "dashboards" / "clip-worker.json"
GRID_WIDTH = 24
HEIGHTS = {"stat": 4, "timeseries": 8, "table": 8, "state-timeline": 8}
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}


def dashboard() -> dict[str, Any]:
    """The dashboard as Grafana's JSON model."""
    return {
        "uid": "clip-worker",
        "title": "clip-worker",
        "description": "Queue, workers, batches and failures of clip-worker (docs/alerts.md).",
        "tags": ["clip-worker"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {"list": [_datasource_variable(), _queue_variable()]},
        "panels": _panels(),
    }


def _datasource_variable() -> dict[str, Any]:
    return {
        "name": "datasource",
        "label": "Data source",
        "type": "datasource",
        "query": "prometheus",
    }


def _queue_variable() -> dict[str, Any]:
    query = "label_values(clip_worker_queue_messages, queue)"
    return {
        "name": "queue",
        "label": "Queue",
        "type": "query",
        "datasource": DATASOURCE,
        "definition": query,
        "query": {"query": query, "refId": "queue"},
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }


def _panels() -> list[dict[str, Any]]:
    laid_out: list[dict[str, Any]] = []
    y = 0
    for title, panels in ROWS.items():
        laid_out.append(_row(len(laid_out) + 1, title, y))
        y += 1
        x = 0
        for panel in panels:
            if x + panel.width > GRID_WIDTH:
                x, y = 0, y + HEIGHTS[panels[0].kind]
            laid_out.append(_panel(len(laid_out) + 1, panel, x, y))
            x += panel.width
        y += HEIGHTS[panels[-1].kind]
    return laid_out


def _row(number: int, title: str, y: int) -> dict[str, Any]:
    place = {"x": 0, "y": y, "w": GRID_WIDTH, "h": 1}
    return {"id": number, "type": "row", "title": title, "gridPos": place, "panels": []}


def _panel(number: int, panel: Panel, x: int, y: int) -> dict[str, Any]:
    is_table = panel.kind == "table"
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": DATASOURCE,
        "gridPos": {"x": x, "y": y, "w": panel.width, "h": HEIGHTS[panel.kind]},
        "fieldConfig": {"defaults": _field(panel), "overrides": []},
        "options": _options(panel),
        "targets": [_target(i, query, is_table=is_table) for i, query in enumerate(panel.queries)],
    }


def _field(panel: Panel) -> dict[str, Any]:
    field: dict[str, Any] = {"unit": panel.unit, "min": 0}
    if panel.limits:
        colours = ("green", "orange", "red")
        steps = zip(colours, (None, *panel.limits), strict=False)
        field["thresholds"] = {
            "mode": "absolute",
            "steps": [{"color": colour, "value": limit} for colour, limit in steps],
        }
    if panel.kind == "timeseries":
        field["custom"] = {
            "fillOpacity": 20 if panel.is_stacked else 0,
            "showPoints": "never",
            "stacking": {"mode": "normal" if panel.is_stacked else "none", "group": "A"},
        }
    return field


def _options(panel: Panel) -> dict[str, Any]:
    if panel.kind == "stat":
        reduced = {"calcs": ["lastNotNull"], "fields": "", "values": False}
        return {"reduceOptions": reduced, "graphMode": "area", "colorMode": "value"}
    if panel.kind == "timeseries":
        return {
            "legend": {"displayMode": "list", "placement": "bottom"},
            "tooltip": {"mode": "multi", "sort": "desc"},
        }
    return {}


def _target(i: int, query: Query, *, is_table: bool) -> dict[str, Any]:
    return {
        "refId": chr(ord("A") + i),
        "datasource": DATASOURCE,
        "expr": query.expr,
        "legendFormat": query.legend,
        "instant": is_table,
        "range": not is_table,
        "format": "table" if is_table else "time_series",
    }


if __name__ == "__main__":
    PATH.write_text(json.dumps(dashboard(), indent=2) + "\n", encoding="utf-8")
    print(f"wrote {PATH}")
