"""The metrics and the report of a real worker."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.image_zoo import photo
from support.scrape import scraped
from support.waiting import wait_until
from support.worker_process import WorkerProcess

from clip_worker import Client
from clip_worker.errors import ImageUnavailableError
from clip_worker.redis.worker_reports import WorkerReports
from worker.cli.demo.redis_server import find_free_port
from worker.metrics.catalogue import METRICS

if TYPE_CHECKING:
    from celery import Celery
    from redis import Redis
    from support.redis_server import RedisServer

    from clip_worker.contract.worker_report import WorkerReport

pytestmark = pytest.mark.integration
LABELS = ["a cat", "a dog"]
# Of GPUs, or known only after a while under load, of a queue that is not empty.
NOT_ALWAYS = ("gpu_", "usual_images_per_second", "queue_oldest_seconds")
# Counted only where something of the kind happens.
NOT_HERE = ("fetch_retries_total", "embedding_lookups_total", "embeddings_stored_total")


def test_a_workers_metrics_and_report_say_what_it_did(
    broker: Redis, redis_url: str, tmp_path: Path, plain: Celery
) -> None:
    photo((50, 40), 1).save(tmp_path / "cat.jpg")
    image, port = f"file://{tmp_path}/cat.jpg", find_free_port()
    options = {"METRICS_PORT": str(port), "METRICS_ADDRESS": "127.0.0.1"}
    with WorkerProcess(redis_url, tmp_path, **options) as worker, Client(redis_url) as client:
        handles = [client.classify(image, LABELS) for _ in range(5)]
        several = {"images": [image] * 3, "labels": LABELS}
        many = plain.signature("clip.classify_many", kwargs=several).apply_async()
        missing = client.classify(image + ".missing", LABELS)
        task = plain.signature("clip.classify", kwargs={"image": image, "labels": LABELS})
        by_celery = task.apply_async(countdown=0.1)
        for handle in handles:
            handle.get(timeout=60)
        many.get(timeout=60)
        by_celery.get(timeout=60)
        with pytest.raises(ImageUnavailableError):
            missing.get(timeout=60)

        wanted = ("clip_worker_label_cache_hits_total",), ("clip_worker_queue_messages", "clip")
        wait_until(
            lambda: all(scraped(port).get(name, -1) >= 0 for name in wanted), lambda: "no metrics"
        )
        found = scraped(port)
        tasks = "clip_worker_tasks_total"
        assert found[tasks, "", "succeeded", "clip", "clip.classify"] == 6
        assert found[tasks, "", "succeeded", "clip", "clip.classify_many"] == 1
        assert found[tasks, "FILE_NOT_FOUND", "failed", "clip", "clip.classify"] == 1
        assert found["clip_worker_images_total", "", "succeeded"] == 9
        assert found["clip_worker_images_total", "FILE_NOT_FOUND", "failed"] == 1
        # tasks for the same image that are in flight together share a forward pass
        assert 1 <= found["clip_worker_batch_images_sum",] <= 9
        assert found["clip_worker_stage_seconds_count", "forward"] == 9
        names = {name for name, *_ in found}
        for metric in METRICS:
            if not metric.name.startswith(NOT_ALWAYS) and metric.name not in NOT_HERE:
                suffix = "_count" if metric.kind == "histogram" else ""
                assert metric.full_name + suffix in names, metric.name

        wait_until(lambda: report(broker).images == 10, lambda: f"{report(broker)}")
        assert report(broker).failures == {"FILE_NOT_FOUND": 1}
        assert (report(broker).state, report(broker).queues) == ("ready", ("clip",))
        worker.send_signal(signal.SIGTERM)
        assert worker.wait_for_end() == 0
        assert WorkerReports(broker, "clip").all() == []


def report(broker: Redis) -> WorkerReport:
    [found] = WorkerReports(broker, "clip").all()
    return found


def test_a_scrape_shows_the_other_metrics_while_redis_hangs(
    server: RedisServer, tmp_path: Path
) -> None:
    port = find_free_port()
    with WorkerProcess(server.url, tmp_path, METRICS_PORT=str(port)) as worker:
        queue = ("clip_worker_queue_messages", "clip")
        wait_until(lambda: scraped(port).get(queue) == 0, lambda: f"{scraped(port)}")
        os.kill(server.pid or 0, signal.SIGSTOP)
        wait_until(lambda: queue not in scraped(port), lambda: "Redis still answers")
        assert scraped(port)["clip_worker_in_flight_images",] == 0
        os.kill(server.pid or 0, signal.SIGCONT)
        wait_until(lambda: queue in scraped(port), lambda: "Redis is still away")
        assert "report" not in worker.log
