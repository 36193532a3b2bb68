"""The metrics port of a worker: opened from its settings, with the worker's health and metrics."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
from prometheus_client import Counter
from support.ports import free_port
from support.waiting import wait_until

from clip_worker.errors import ServiceError
from worker.health.service import HealthService, hand_over, health_service
from worker.settings import Settings

NOBODY = "redis://:secret@127.0.0.1:1/0"


@pytest.fixture
def service(redis_url: str) -> Iterator[HealthService]:
    settings = Settings.load(redis_url=redis_url, metrics_port=free_port())
    service = HealthService(settings, workers=2)
    service.start()
    yield service
    service.stop()


def get(service: HealthService, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{service.port}{path}") as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_liveness_and_readiness_differ_while_a_worker_starts(service):
    live, ready = get(service, "/healthz"), get(service, "/readyz")

    assert (live[0], ready[0]) == (200, 503)
    assert json.loads(live[1]) == json.loads(ready[1])
    assert json.loads(live[1])["state"] == "starting"


def test_a_worker_that_takes_tasks_is_ready_and_tells_how_many_it_has_beside_it(service):
    service.health.serving()

    assert get(service, "/readyz") == (
        200,
        '{"state": "ready", "sentence": "The worker takes tasks.", "workers": 2}\n',
    )


def test_metrics_show_what_was_registered(service):
    Counter("cats", "Seen.", registry=service.registry).inc()

    assert "\ncats_total 1.0\n" in get(service, "/metrics")[1]


def test_redis_is_watched_and_no_password_is_shown():
    settings = Settings.load(redis_url=NOBODY, metrics_port=free_port())
    service = HealthService(settings)
    service.start()
    service.health.serving()
    try:
        wait_until(lambda: get(service, "/readyz")[0] == 503, lambda: "still ready")
        body = json.loads(get(service, "/readyz")[1])
        assert body["state"] == "redis_away"
        assert "redis://:***@127.0.0.1:1/0 can't be used" in body["sentence"]
        assert get(service, "/healthz")[0] == 200
    finally:
        service.stop()


def test_a_taken_port_is_one_sentence_with_the_remedy(service, redis_url):
    second = HealthService(Settings.load(redis_url=redis_url, metrics_port=service.port))

    with pytest.raises(ServiceError) as caught:
        second.start()

    assert caught.value.code == "METRICS_PORT"
    assert str(caught.value) == (
        f"The metrics port {service.port} of 0.0.0.0 can't be opened: Address already in use. Set "
        "CLIP_WORKER_METRICS_PORT to a free port and CLIP_WORKER_METRICS_ADDRESS to an address of "
        "this machine, or unset both."
    )


def test_without_a_port_nothing_listens(redis_url):
    service = HealthService(Settings.load(redis_url=redis_url))
    service.start()
    service.stop()

    assert service.port is None


def test_a_service_is_handed_over_to_celerys_worker():
    class Sender:
        pass

    sender, service = Sender(), HealthService(Settings.load())
    assert health_service(sender) is None
    hand_over(service, sender)
    assert health_service(sender) is service
