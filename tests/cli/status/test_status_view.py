"""A snapshot as text on screens of any width, and as JSON."""

from __future__ import annotations

import json
import re
from pathlib import Path

import click
import pytest
from support.status_snapshots import queue, seen, snapshot

from clip_worker.contract.worker_report import GpuReport, WorkerReport
from worker.cli.output.screen import cells
from worker.cli.status.findings import findings
from worker.cli.status.json_form import to_json
from worker.cli.status.trend import Trend
from worker.cli.status.view import view

ROOT = Path(__file__).parents[3]
URL = "redis://localhost:6379/0"
BUSY = queue(seen(resting=20, hosts_resting=2), seen("\u732b@host", age_s=30), dead_letters=3)


def lines(shown, width: int | None = None) -> list[str]:
    return [click.unstyle(line) for line in view(shown, findings(shown), URL, width)]


def cell(shown, heading: str) -> str:
    """What stands below a heading, whose columns are parted by two spaces."""
    found = lines(shown)
    at = next(number for number, line in enumerate(found) if heading in line)
    ends = found[at].index(heading) + len(heading)
    return found[at + 1][:ends].split("  ")[-1].strip()


@pytest.mark.parametrize(
    ("heading", "text"),
    [
        ("waiting", "4,000"),
        ("in flight", "1,600"),
        ("oldest", "7 s"),
        ("work", "9 s"),
        ("trend", "+0.0/s"),
        ("images/s", "600"),
        ("workers", "2"),
    ],
)
def test_a_queue_is_a_line(heading, text):
    assert cell(snapshot(), heading) == text


@pytest.mark.parametrize(
    ("heading", "text"),
    [
        ("images/s (usual)", "300 (310)"),
        ("batch", "60.0/64"),
        ("preparation", "8 (2 restarts)"),
        ("labels cached", "100.0%"),
        ("up", "1.0 h"),
        ("GPU", "97% 1.0 GB/80.0 GB"),
    ],
)
def test_a_worker_is_a_line(heading, text):
    gpu = GpuReport(
        name="H100", use_percent=97, memory_used_bytes=10**9, memory_total_bytes=80 * 10**9
    )
    assert cell(snapshot(queue(seen(gpu=gpu, preparation_restarts=2))), heading) == text


@pytest.mark.parametrize("width", [30, 40, 60, 80, 100, 140, 200])
def test_no_line_is_wider_than_the_screen(width):
    assert max(map(cells, lines(snapshot(BUSY), width))) <= max(width, 42)


def test_a_narrow_screen_keeps_names_states_and_lengths():
    text = "\n".join(lines(snapshot(BUSY), 40))
    for kept in ("clip", "4,000", "clip-1@host", "silent", "300 (310)"):
        assert kept in text


def test_without_a_width_nothing_is_cut_or_wrapped():
    name = "clip-1@" + "host" * 20
    found = lines(snapshot(queue(seen(name, hosts_resting=1))))
    assert any(line.startswith(name) for line in found)
    assert (
        len([line for line in found if "pauses 1 host" in line and "names the hosts" in line]) == 1
    )


def test_a_name_cannot_control_the_terminal():
    assert "\x1b" not in "\n".join(lines(snapshot(queue(seen("\x1b[2Jx", warnings=("\x1b]0;",))))))


def test_what_is_not_known_is_a_dash():
    shown = snapshot(queue(work_s=None, growth_per_s=None, oldest_s=None))
    assert [cell(shown, heading) for heading in ("oldest", "work", "trend")] == ["-"] * 3


def test_a_healthy_fleet_is_called_that():
    assert "Nothing looks wrong." in lines(snapshot())


def test_the_tenants_with_the_most_messages_are_named():
    shown = snapshot(queue(tenants=3, largest_tenants={"acme": 999_990, "zoo": 10}))
    assert "Waiting in clip by tenant: acme 999,990, zoo 10, 1 other" in lines(shown)
    assert not [line for line in lines(snapshot()) if "tenant" in line]


def test_the_json_has_the_documented_names():
    shown = snapshot(BUSY)
    found = json.loads(to_json(shown, findings(shown)))
    assert set(found) == {"at", "queues", "workers", "redis", "misrouted", "findings"}
    assert set(found["queues"][0]) == {
        *("queue", "messages", "in_flight_messages", "total_messages", "suspects", "oldest_s"),
        *("dead_letters", "webhooks", "workers", "work_s", "images_per_s", "growth_per_s"),
        *("tenants", "largest_tenants"),
    }
    assert set(found["workers"][0]) == {*WorkerReport.model_fields, "report_age_s"}
    assert set(found["redis"]) == {"used_bytes", "limit_bytes", "policy"}
    assert {frozenset(each) for each in found["findings"]} == {
        frozenset({"code", "level", "sentence"})
    }
    assert found["queues"][0]["workers"] == 1  # the other is silent


def test_a_queue_grows_by_what_is_added_over_the_last_minute():
    trend = Trend()
    readings = [(0, 100), (5, 200), (10, 300), (70, 900), (130, 900)]
    assert [trend.add(at, messages) for at, messages in readings] == [None, None, 20, 10, 0]


def test_a_clock_that_is_set_back_begins_the_measurement_anew():
    trend = Trend()
    trend.add(100, 5)
    assert trend.add(50, 500) is None
    assert trend.add(60, 600) == 10


def test_the_page_names_each_finding_and_each_field_of_the_json():
    page = (ROOT / "docs" / "status.md").read_text()
    rules = "".join(path.read_text() for path in (ROOT / "worker/cli/status").glob("*_rules.py"))
    codes = set(re.findall(r'(?:problem|advice)\)?\(\s*"(\w+)"', rules))
    assert codes == set(re.findall(r"^\| `(\w+)` \| (?:problem|advice)", page, re.MULTILINE))
    queue_fields = json.loads(to_json(snapshot(), []))["queues"][0]
    assert {name for name in queue_fields if f"`{name}`" not in page} == set()
