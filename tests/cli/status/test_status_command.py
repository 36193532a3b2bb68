"""`clip-worker status` with a real Redis: one look, and a Redis that can't be used."""

from __future__ import annotations

import json
import time

import pytest
from redis import Redis
from support.redis_server import new_server
from support.status_snapshots import report

from clip_worker.contract.keys import QueueKeys, dead_index_key
from clip_worker.redis.worker_reports import WorkerReports
from worker.cli.demo.redis_server import find_free_port
from worker.cli.entry import run

pytestmark = pytest.mark.integration

CELERY_TASK = '{"body": "W10=", "headers": {"task": "%s"}}'


@pytest.fixture
def redis(redis_url):
    with Redis.from_url(redis_url) as redis:
        yield redis


@pytest.fixture
def server():
    """A server of the test's own, whose users it may change."""
    with new_server() as server:
        yield server


@pytest.fixture
def status(redis_url, capsys):
    """Runs `clip-worker status --once`; its exit status, and its output and errors."""

    def status(*arguments: str, url: str = redis_url):
        exit_status = run(["status", "--once", "--redis-url", url, *arguments])
        printed = capsys.readouterr()
        return exit_status, printed.out, printed.err

    return status


@pytest.fixture
def as_json(status):
    def as_json(*arguments: str):
        exit_status, line, errors = status("--json", *arguments)
        assert errors == ""
        return exit_status, json.loads(line)

    return as_json


def codes(found: dict[str, list[dict[str, str]]]) -> list[str]:
    return [finding["code"] for finding in found["findings"]]


def test_a_fleet_without_problems_is_status_0(status, redis):
    WorkerReports(redis, "clip").put(report(reported_at=time.time()))
    exit_status, text, errors = status()
    assert (exit_status, errors) == (0, "")
    assert "clip-1@host  ready" in text
    assert "Nothing looks wrong." in text


def test_a_problem_is_status_3_and_advice_is_not(as_json, redis):
    assert as_json()[0] == 0
    redis.lpush("clip", "m")
    exit_status, found = as_json()
    assert (exit_status, codes(found)) == (3, ["no_worker"])


def test_the_queues_are_those_that_are_named(as_json, redis):
    redis.lpush("slow", "m", "m")
    redis.zadd(dead_index_key("slow"), {"a": 1})
    exit_status, found = as_json("--queue", "fast", "--queue", "slow", "--queue", "fast")
    assert [queue["queue"] for queue in found["queues"]] == ["fast", "slow"]
    assert found["queues"][1]["messages"] == 2
    assert exit_status == 3


def test_a_report_that_came_long_ago_is_a_silent_worker_whatever_its_clock_says(as_json, redis):
    WorkerReports(redis, "clip").put(report(reported_at=time.time() + 1e6))
    redis.zadd(QueueKeys("clip").reports, {"clip-1@host": time.time() - 30})
    found = as_json()[1]
    assert "silent_worker" in codes(found)
    assert found["workers"][0]["report_age_s"] == pytest.approx(30, abs=5)


def test_memory_and_misrouted_tasks_are_read(as_json, redis):
    redis.lpush("celery", CELERY_TASK % "clip.classify", CELERY_TASK % "app.mail")
    found = as_json()[1]
    assert found["misrouted"] == 2
    assert found["redis"]["policy"] == "noeviction"


def test_a_backends_own_tasks_are_not_misrouted(as_json, redis):
    redis.lpush("celery", CELERY_TASK % "app.clip.mail")
    assert as_json()[1]["misrouted"] == 0


def test_a_redis_that_is_away_is_status_1_and_a_sentence(status):
    exit_status, text, errors = status(url=f"redis://:secret@localhost:{find_free_port()}/0")
    assert (exit_status, text) == (1, "")
    assert errors.startswith("clip-worker: Redis at redis://:***@localhost:")
    assert len(errors.splitlines()) == 1


def test_a_wrong_url_is_status_2(status):
    assert status(url="http://localhost")[0] == 2


def test_a_user_without_rights_gets_a_sentence(status, server):
    with server.client() as owner:
        owner.execute_command("ACL", "SETUSER", "nobody", "on", ">word", "+ping")
    exit_status, _, errors = status(url=f"redis://nobody:word@localhost:{server.port}/0")
    assert exit_status == 1
    assert "lacks a right" in errors.lower()


def test_info_and_the_default_queue_may_be_forbidden(status, server):
    rights = ("~clip", "~clip\x06*", "~clip-worker:clip:*", "+@read", "+@scripting", "+time")
    with server.client() as owner:
        owner.execute_command("ACL", "SETUSER", "reader", "on", ">word", *rights)
        WorkerReports(owner, "clip").put(report(reported_at=time.time()))
    exit_status, text, errors = status(url=f"redis://reader:word@localhost:{server.port}/0")
    assert (exit_status, errors) == (0, "")
    assert "clip-1@host" in text
