"""deploy/prometheus: Prometheus loads it, its alerts fire as they should, docs explain them."""

from __future__ import annotations

import re
import subprocess

from support.deploy_tools import DEPLOY, ROOT, run_tool
from support.metric_names import ALERTS, alert_rules

CODES = re.compile(r'code=~"([A-Z_|]+)"')


def test_promtool_accepts_rules_and_configuration():
    rules = run_tool("promtool", "check", "rules", ALERTS)
    config = run_tool("promtool", "check", "config", DEPLOY / "prometheus" / "prometheus.yml")
    assert rules.returncode == 0, rules.stdout
    assert config.returncode == 0, config.stdout


def test_each_alert_fires_when_it_should_and_not_for_what_looks_alike():
    tested = run_tool("promtool", "test", "rules", ROOT / "tests" / "deploy" / "alerts_test.yml")
    assert tested.returncode == 0, tested.stdout


def test_each_alert_has_a_test():
    tests = (ROOT / "tests" / "deploy" / "alerts_test.yml").read_text()
    assert not [rule["alert"] for rule in alert_rules() if rule["alert"] not in tests]


def test_each_alert_says_what_is_wrong_and_what_to_do():
    runbook = (ROOT / "docs" / "alerts.md").read_text()
    for rule in alert_rules():
        name, notes = rule["alert"], rule["annotations"]
        assert set(notes) == {"summary", "description", "remedy", "runbook"}, name
        assert all(notes[key].endswith(".") for key in ("summary", "description", "remedy")), name
        assert notes["runbook"] == f"docs/alerts.md#{name.lower()}"
        assert f"\n### {name}\n" in runbook
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}


def test_the_runbook_names_no_other_alert():
    runbook = (ROOT / "docs" / "alerts.md").read_text()
    named = set(re.findall(r"^### (\w+)$", runbook, re.MULTILINE))
    assert named == {rule["alert"] for rule in alert_rules()}


def test_codes_of_operators_concern_exist():
    codes = {
        code
        for rule in alert_rules()
        for group in CODES.findall(rule["expr"])
        for code in group.split("|")
    }
    sources = subprocess.run(
        ["grep", "-rhoE", '"[A-Z_]+"', "worker", "clip_worker"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert codes
    assert not {code for code in codes if f'"{code}"' not in sources}
