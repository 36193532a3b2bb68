"""Our Celery applications in another application's environment."""

from __future__ import annotations

from clip_worker.redis.celery_app import RedisCelery
from worker.celery import worker_configuration
from worker.settings import Settings


def test_an_application_keeps_its_own_redis_whatever_the_environment_says(monkeypatch, celery):
    # given the variables of a Django project's own Celery
    for name in ("BROKER_URL", "BROKER_READ_URL", "BROKER_WRITE_URL", "RESULT_BACKEND"):
        monkeypatch.setenv(f"CELERY_{name}", "redis://theirs:1111/1")
    # when
    app = celery("redis://ours:2222/2")
    # then
    broker = app.connection_for_write()
    assert (broker.hostname, broker.port, broker.virtual_host) == ("ours", 2222, "2")
    assert app.connection_for_read().hostname == "ours"
    assert app.backend.connparams["host"] == "ours"


def test_all_tasks_in_flight_may_store_their_results_at_once():
    # given more than the 100 connections of redis-py's pools
    settings = Settings(concurrency=300)
    app = RedisCelery("worker", set_as_current=False)
    app.conf.update(worker_configuration(settings))
    assert app.backend.client.connection_pool.max_connections > settings.concurrency
