"""deploy/grafana: the dashboard is up to date, whole, and made of expressions that parse."""

from __future__ import annotations

import json
from pathlib import Path

import yaml
from build_dashboard import GRID_WIDTH, dashboard
from support.deploy_tools import DEPLOY, run_tool
from support.metric_names import DASHBOARD, dashboard_expressions

VARIABLES = {"$__rate_interval": "5m", "$queue": "clip"}


def panels() -> list[dict]:
    return json.loads(DASHBOARD.read_text())["panels"]


def test_the_file_is_what_the_script_writes():
    assert json.loads(DASHBOARD.read_text()) == dashboard()


def test_each_panel_has_an_id_of_its_own_a_title_and_a_place_of_its_own():
    assert len({panel["id"] for panel in panels()}) == len(panels())
    assert all(panel["title"] for panel in panels())
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert all(x < GRID_WIDTH for x, _ in cells), panel["title"]
        taken |= cells


def test_each_panel_asks_the_chosen_data_source_and_explains_itself():
    for panel in panels():
        if panel["type"] == "row":
            continue
        assert panel["datasource"]["uid"] == "${datasource}"
        assert panel["description"].endswith("."), panel["title"]
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"]) > 0
    variables = json.loads(DASHBOARD.read_text())["templating"]["list"]
    assert [each["name"] for each in variables] == ["datasource", "queue"]


def test_each_expression_parses(tmp_path: Path):
    rules = [
        {"record": f"panel:{i}", "expr": _filled_in(expr)}
        for i, expr in enumerate(dashboard_expressions())
    ]
    path = tmp_path / "expressions.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    checked = run_tool("promtool", "check", "rules", path)
    assert checked.returncode == 0, checked.stdout
    assert f"{len(rules)} rules found" in checked.stdout


def _filled_in(expr: str) -> str:
    for variable, value in VARIABLES.items():
        expr = expr.replace(variable, value)
    assert "$" not in expr
    return expr


def test_provisioning_finds_the_data_source_and_the_folder():
    provisioning = DEPLOY / "grafana" / "provisioning"
    source = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text())
    assert source["datasources"][0]["type"] == "prometheus"
    provider = yaml.safe_load((provisioning / "dashboards" / "clip-worker.yml").read_text())
    assert provider["providers"][0]["options"]["path"] == "/var/lib/grafana/dashboards"
