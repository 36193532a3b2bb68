"""What `clip-worker status` calls wrong, and that it does not for a healthy fleet."""

from __future__ import annotations

import pytest
from support.status_snapshots import GIB, queue, seen, snapshot

from worker.cli.status.finding import Level
from worker.cli.status.findings import findings
from worker.cli.status.snapshot import RedisMemory

STUCK = seen(state="stuck", in_flight=800)
OLD = {"oldest_s": 700.0}
IDLE = {"images_per_s": 0.0, "in_flight": 0}


def codes(*queues, **changes: object) -> list[str]:
    return [finding.code for finding in findings(snapshot(*queues, **changes))]


def sentence(*queues, **changes: object) -> str:
    [finding] = findings(snapshot(*queues, **changes))
    return finding.sentence


@pytest.mark.parametrize(
    "healthy",
    [
        queue(),
        queue(messages=0, in_flight_messages=0, oldest_s=None),
        queue(seen(**IDLE), messages=0, in_flight_messages=0, workers=0, oldest_s=None),
        queue(seen(state="starting", model_digest="", device="", largest_batch=0), seen("b@host")),
        queue(seen(state="draining", model_digest="other", version="0.9.0"), seen("b@host")),
        queue(seen(**IDLE), messages=3, oldest_s=1.0),
        queue(seen(age_s=11), seen("b@host")),
        queue(seen(preparation_restarts=2), seen("b@host", preparation_restarts=0)),
        queue(seen(device="cpu", largest_batch=8, batch_images=1.2)),
        queue(seen(batch_images=2.0, in_flight=100)),
        queue(seen(failures={"FETCH_TIMEOUT": 90_000})),
        queue(seen(images=90, failures={"FETCH_TIMEOUT": 90})),
        queue(seen(label_cache_hits=0, label_cache_misses=99)),
        queue(growth_per_s=500.0, work_s=30.0),
        queue(growth_per_s=10.0, work_s=3000.0),
    ],
)
def test_nothing_is_wrong_with_a_healthy_fleet(healthy):
    assert codes(healthy) == []


@pytest.mark.parametrize(
    ("code", "ill"),
    [
        ("no_worker", queue(seen(age_s=99), workers=0)),
        ("no_worker", queue(seen(state="draining"))),
        ("idle_workers", queue(seen(**IDLE), oldest_s=40.0)),
        ("dead_letters", queue(dead_letters=2)),
        ("different_models", queue(seen(), seen("b@host", model_digest="other"))),
        ("different_versions", queue(seen(), seen("b@host", version="0.9.0"))),
        ("growing", queue(growth_per_s=100.0, work_s=300.0)),
        ("long_wait", queue(**OLD)),
        ("silent_worker", queue(seen(), seen("b@host", age_s=13))),
        ("stuck_worker", queue(STUCK, seen("b@host"))),
        ("failing_tasks", queue(seen(images=300, failures={"FETCH_TIMEOUT": 150}))),
        ("preparation_restarts", queue(seen(preparation_restarts=3))),
        ("half_empty_batches", queue(seen(batch_images=20.0))),
        ("label_cache_misses", queue(seen(label_cache_hits=50, label_cache_misses=100))),
        ("resting_hosts", queue(seen(hosts_resting=1))),
        ("worker_warning", queue(seen(warnings=("The disk is full.",)))),
    ],
)
def test_each_rule_finds_its_case(code, ill):
    assert code in codes(ill)


@pytest.mark.parametrize(
    ("code", "memory"),
    [
        ("eviction", RedisMemory(1, GIB, "allkeys-lru")),
        ("redis_nearly_full", RedisMemory(19 * GIB, 20 * GIB, "noeviction")),
    ],
)
def test_a_redis_that_drops_or_soon_refuses_messages_is_found(code, memory):
    assert codes(memory=memory) == [code]


@pytest.mark.parametrize(
    "memory", [None, RedisMemory(20 * GIB, 0, "allkeys-lru"), RedisMemory(1, GIB, "noeviction")]
)
def test_a_redis_without_a_limit_or_whose_memory_is_not_known_is_left_alone(memory):
    assert codes(memory=memory) == []


def test_tasks_in_celerys_default_queue_are_found():
    assert sentence(misrouted=5).startswith("Celery's default queue 'celery' has 5 messages")


def test_problems_come_before_advice():
    ill = queue(seen(hosts_resting=1), dead_letters=1, **OLD)
    levels = [finding.level for finding in findings(snapshot(ill))]
    assert levels == [Level.PROBLEM, Level.ADVICE, Level.ADVICE]


def test_no_worker_is_a_problem_only_while_something_waits():
    waiting = queue(seen(state="draining"), messages=2, in_flight_messages=1)
    empty = queue(seen(state="draining"), messages=0, in_flight_messages=0, oldest_s=None)
    [problem], [advice] = findings(snapshot(waiting)), findings(snapshot(empty))
    assert (problem.level, advice.level) == (Level.PROBLEM, Level.ADVICE)
    assert "(2 messages wait, 1 message of lost workers are left)" in problem.sentence


def test_a_worker_of_an_earlier_version_is_not_no_worker():
    unreported = queue()
    unreported = type(unreported)(unreported.status, ())
    assert codes(unreported) == ["unreported_workers"]


def test_a_silent_worker_is_not_judged_by_its_old_report():
    ill = seen("b@host", age_s=40, state="stuck", hosts_resting=3, preparation_restarts=9)
    assert codes(queue(seen(), ill)) == ["silent_worker"]


def test_a_worker_of_two_queues_is_judged_once():
    worker = seen(hosts_resting=1)
    assert codes(queue(worker), queue(worker, queue="other")) == ["resting_hosts"]


def test_restarts_are_held_against_the_time_that_the_worker_runs():
    a_week = {"started_at": 1_763_730_000.0 - 7 * 86_400}
    assert codes(queue(seen(preparation_restarts=20, **a_week))) == []


def test_the_sentence_of_a_model_change_names_both_models_and_workers():
    ill = queue(seen(), seen("b@host", model="ViT-L/14", model_digest="b8cca3fd41ae"))
    assert "ViT-B/32 40d36571 on clip-1@host, ViT-L/14 b8cca3fd on b@host" in sentence(ill)


def test_the_command_for_dead_letters_names_a_queue_of_another_name():
    assert "`clip-worker dead list --queue fast`" in sentence(queue(queue="fast", dead_letters=1))
