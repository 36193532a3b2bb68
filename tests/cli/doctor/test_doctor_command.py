"""The whole of `clip-worker doctor`, and what it prints."""

from __future__ import annotations

import re
import time

import pytest
from support.redis_server import new_server

from worker.cli.doctor import subject as subjects
from worker.cli.doctor.all_checks import all_checks
from worker.cli.doctor.check import Check
from worker.cli.doctor.finding import ok
from worker.cli.entry import run

SECRET = "correct-horse"
NUMBERED_BY_VENDOR = {"version"}  # the tests' server may be an old one


@pytest.mark.integration
def test_a_healthy_set_up_has_no_warning(doctor) -> None:
    with new_server("--appendonly", "yes") as server:
        status, found = doctor(server.url)
    assert status == 0
    statuses = {name: one["status"] for name, one in found.items()}
    assert {name for name, one in statuses.items() if one != "ok"} <= NUMBERED_BY_VENDOR, found
    assert {one["group"] for one in found.values()} == {
        *("settings", "redis", "queue", "rights", "model", "device", "machine", "embeddings")
    }


@pytest.mark.integration
def test_people_read_a_line_a_check_with_its_remedy_below(redis_url, capsys) -> None:
    status = run(["doctor", "--redis-url", redis_url, "redis"])
    lines = capsys.readouterr().out.splitlines()
    assert status == 0
    assert lines[:2] == ["redis:", f"  ok       reachable: Redis at {redis_url} answers."]
    position = next(n for n, line in enumerate(lines) if line.startswith("  warning  persistence"))
    assert lines[position + 1].startswith("           Set appendonly yes")
    assert re.fullmatch(r"9 checks: \d ok, \d warnings?\.", lines[-1])


@pytest.mark.integration
def test_checks_are_chosen_by_group_or_by_name(redis_url, doctor) -> None:
    _, found = doctor(redis_url, "clock", "settings")
    assert set(found) == {"values", "secrets", "clock"}


def test_an_unknown_check_is_named_with_what_was_meant(capsys) -> None:
    assert run(["doctor", "redsi"]) == 2
    assert "Unknown check 'redsi'. Did you mean 'redis'?" in capsys.readouterr().err


def test_wrong_settings_are_a_problem_and_the_rest_goes_on(doctor, monkeypatch) -> None:
    monkeypatch.setenv("CLIP_WORKER_MAX_BATHC", "8")
    monkeypatch.setenv("CLIP_WORKER_REPLICAS", "many")
    status, found = doctor("redis://localhost:1", "settings", "machine")
    assert status == 1
    assert "CLIP_WORKER_MAX_BATHC" in found["values"]["found"]
    assert "CLIP_WORKER_REPLICAS is 'many'" in found["values"]["found"]
    assert found["open files"]["status"] == "skipped"


def test_with_the_client_alone_the_workers_checks_are_skipped(doctor, monkeypatch) -> None:
    reason = 'This check needs torch; install it: pip install "clip-worker[worker]"'
    monkeypatch.setattr(subjects, "missing_extra", lambda _: reason)
    status, found = doctor("redis://localhost:1", "settings", "model", "device", "machine")
    assert status == 0
    assert {one["status"] for one in found.values()} == {"skipped"}
    assert found["files"]["found"] == f"{reason}."


@pytest.mark.parametrize("as_json", [["--json"], []])
def test_no_password_and_no_secret_is_printed(capsys, monkeypatch, as_json) -> None:
    monkeypatch.setenv("CLIP_WORKER_REDIS_URL", f"redis://me:{SECRET}@localhost:1/0")
    monkeypatch.setenv("CLIP_WORKER_RESULT_URL", f"redis://me:{SECRET}@localhost:1/0?x=")
    monkeypatch.setenv("CLIP_WORKER_WEBHOOK_SECRET", SECRET)
    assert run(["doctor", *as_json, "settings", "redis", "queue", "rights"]) == 1
    printed = capsys.readouterr()
    assert SECRET not in printed.out + printed.err


def test_a_check_that_hangs_is_given_up() -> None:
    slow = Check("redis", "slow", lambda: time.sleep(60) or ok("never"), limit_s=0.05)
    finding = slow.run()
    assert (finding.status, finding.found) == (
        "problem",
        "This check did not end within 0.05 s.",
    )


def test_a_check_that_fails_does_not_end_the_others() -> None:
    def fail():
        raise RuntimeError(f"redis://me:{SECRET}@host refused")

    finding = Check("redis", "broken", fail).run()
    assert finding.status == "problem"
    assert "RuntimeError" in finding.found
    assert SECRET not in finding.found


def test_no_two_checks_have_one_name() -> None:
    checks = all_checks(subjects.Subject("redis://localhost:1", "clip"))
    names = [check.name for check in checks] + [*{check.group for check in checks} - {"device"}]
    assert len(names) == len(set(names))
