"""Our Celery applications against the environment of somebody else's."""

from __future__ import annotations

import pytest

from worker.celery import worker_configuration
from worker.client import Client
from worker.errors import InvalidRequestError
from worker.redis.celery_app import RedisCelery
from worker.settings import Settings


def test_a_client_keeps_to_its_own_redis_in_a_web_applications_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # given the variables of a Django project's own Celery
    for name in ("BROKER_URL", "BROKER_READ_URL", "BROKER_WRITE_URL", "RESULT_BACKEND"):
        monkeypatch.setenv(f"CELERY_{name}", "redis://theirs:1111/1")
    # when
    with Client("redis://ours:2222/2") as client:
        app = client._app
        # then
        broker = app.connection_for_write()
        assert (broker.hostname, broker.port, broker.virtual_host) == ("ours", 2222, "2")
        assert app.connection_for_read().hostname == "ours"
        assert app.backend.connparams["host"] == "ours"


@pytest.mark.parametrize("url", ["localhost:6379", "redis://h:port/0", "amqp://h", "sentinel://h"])
def test_a_url_that_is_no_redis_url_is_refused_before_anything_is_sent(url: str) -> None:
    with pytest.raises(InvalidRequestError, match="is not a Redis URL") as caught:
        Client(url)
    assert caught.value.code == "BAD_REDIS_URL"
    assert repr(url) in caught.value.message


def test_all_tasks_in_hand_may_store_their_results_at_once() -> None:
    # given more than the 100 connections that redis-py's pools hold unless told
    settings = Settings(concurrency=300)
    app = RedisCelery("worker", set_as_current=False)
    app.conf.update(worker_configuration(settings))
    with app.backend.client.connection_pool as pool:
        assert pool.max_connections > settings.concurrency
