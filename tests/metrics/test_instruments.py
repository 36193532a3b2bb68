"""Counters and histograms show what prometheus_client's own would show."""

from __future__ import annotations

import random
import threading

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client import Histogram as TheirHistogram

from worker.metrics.catalogue import COUNTED, Metric
from worker.metrics.histogram import Histogram
from worker.metrics.instruments import STAGES, Instruments
from worker.metrics.readings import Readings

BUCKETS = (0.1, 1.0, 2.5)
METRIC = Metric("tried_seconds", "histogram", "Tried.", ("stage",), BUCKETS)


def test_a_histogram_shows_what_prometheus_clients_shows_of_the_same_values() -> None:
    values = [*BUCKETS, 0.0, 99.0, *(random.Random(1).uniform(0, 4) for _ in range(200))]
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    histogram = Histogram(METRIC, ["fetch"])
    ours.register(histogram)
    reference = TheirHistogram(
        METRIC.full_name, METRIC.help, METRIC.labels, buckets=BUCKETS, registry=theirs
    ).labels("fetch")
    histogram.observe_rows([{"fetch": value} for value in values])
    histogram.observe(0.5, "fetch", times=3)
    for value in [*values, 0.5, 0.5, 0.5]:
        reference.observe(value)
    assert lines(ours) == lines(theirs)


def lines(registry: CollectorRegistry) -> dict[str, float]:
    """Values by series, rounded: the two add up in different orders."""
    shown = generate_latest(registry).decode().splitlines()
    pairs = [line.rsplit(" ", 1) for line in shown if not line.startswith("#")]
    return {name: round(float(value), 9) for name, value in pairs if "_created" not in name}


def test_what_is_counted_is_shown() -> None:
    instruments = Instruments()
    instruments.task_ended("clip", "clip.classify", "succeeded", count=3)
    instruments.task_ended("clip", "clip.classify", "failed", "FETCH_404")
    instruments.task_ended("clip", "clip.classify", "dead_letter", "POISON")
    instruments.image_ended("succeeded", count=3)
    instruments.image_ended("requeued", "STOPPING")
    instruments.stages_ended(
        [dict.fromkeys(STAGES, 0.2), dict.fromkeys(STAGES, 0.2) | {"queue": None}]
    )
    instruments.batch_ran(3, "full")
    instruments.fetch_retried("FETCH_503")
    instruments.redis_answered(0.004)
    shown = lines(instruments.registry)
    tasks = 'clip_worker_tasks_total{code="%s",outcome="%s",queue="clip",task="clip.classify"}'
    assert shown[tasks % ("", "succeeded")] == 3
    assert shown[tasks % ("FETCH_404", "failed")] == 1
    assert shown['clip_worker_stage_seconds_count{stage="queue"}'] == 1
    assert shown['clip_worker_stage_seconds_sum{stage="fetch"}'] == 0.4
    assert shown['clip_worker_batches_total{reason="full"}'] == 1
    assert shown['clip_worker_fetch_retries_total{code="FETCH_503"}'] == 1
    assert shown["clip_worker_redis_seconds_count"] == 1
    assert (instruments.images, instruments.batches) == (3, (1, 3.0))
    assert instruments.failures == {"FETCH_404": 1, "POISON": 1}


def test_each_counted_metric_is_in_the_registry() -> None:
    names = {family.name for family in Instruments().registry.collect()}
    assert {metric.full_name.removesuffix("_total") for metric in COUNTED} <= names


def test_no_count_is_lost_between_threads() -> None:
    instruments = Instruments()

    def count() -> None:
        for _ in range(5_000):
            instruments.image_ended("succeeded")
            instruments.batch_ran(2, "idle")

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (instruments.images, instruments.batches) == (20_000, (20_000, 40_000.0))


def test_metrics_that_cannot_be_read_leave_the_others_in_place() -> None:
    instruments = Instruments()
    gauge = Metric("tried", "gauge", "Tried.")

    def fail() -> dict[str, float]:
        raise RuntimeError("a bug")

    instruments.registry.register(Readings([gauge], fail))
    instruments.image_ended("succeeded")
    assert lines(instruments.registry)['clip_worker_images_total{code="",outcome="succeeded"}'] == 1


def test_an_unknown_value_is_left_out() -> None:
    registry = CollectorRegistry()
    metrics = [Metric("known", "gauge", "Known."), Metric("unknown", "gauge", "Unknown.")]
    registry.register(Readings(metrics, lambda: {"known": 1.0, "unknown": None}))
    assert lines(registry) == {"clip_worker_known": 1.0}
