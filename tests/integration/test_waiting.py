"""Waiting for an answer while Redis comes and goes."""

from __future__ import annotations

import threading
import time

import pytest
from support.answers import ANSWER
from support.redis_server import RedisServer, find_executable

from worker.client import Client
from worker.errors import QueueUnavailableError, ResultTimeoutError, ServiceError
from worker.redis.url import connect

pytestmark = [
    pytest.mark.integration,
    # Celery's backend, which these tests store results with
    pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning"),
]

WAIT_S = 25.0


def test_without_an_answer_the_task_is_named(client: Client) -> None:
    handle = client.classify("data:,x", ["a"])
    with pytest.raises(ResultTimeoutError, match=f"Task {handle.id} has no result after 0.2 s"):
        handle.get(0.2)


def test_a_redis_that_goes_away_while_somebody_waits_is_told_when_the_time_is_over() -> None:
    executable = find_executable()
    assert executable is not None
    with RedisServer(executable) as server, Client(server.url) as client:
        handle = client.classify("data:,x", ["a"])
        # when it ends in the middle of the wait
        stop = threading.Timer(0.5, server.kill)
        stop.start()
        with pytest.raises(QueueUnavailableError, match="Start it"):
            handle.get(1.5)
        stop.join()


def test_an_answer_that_comes_after_redis_was_away_is_given() -> None:
    executable = find_executable()
    assert executable is not None
    with RedisServer(executable) as server, Client(server.url) as client:
        handle = client.classify("data:,x", ["a"])

        def restart_and_answer() -> None:
            server.restart()
            with Client(server.url) as other:
                other._app.backend.store_result(
                    handle.id, ANSWER.model_dump(mode="json"), "SUCCESS"
                )

        away = threading.Timer(0.3, restart_and_answer)
        away.start()
        assert handle.get(WAIT_S) == ANSWER
        away.join()


def test_waiting_leaves_no_result_behind_and_a_subscription_for_the_next_wait(
    client: Client,
) -> None:
    # given answers that were read and one that was given up
    backend = client._app.backend
    for _ in range(3):
        handle = client.classify("data:,x", ["a"])
        backend.store_result(handle.id, ANSWER.model_dump(mode="json"), "SUCCESS")
        assert handle.get(WAIT_S) == ANSWER
    with pytest.raises(ResultTimeoutError):
        client.classify("data:,x", ["a"]).get(0.1)
    # then
    assert backend.result_consumer.subscribed_to == set()
    assert not any(backend._pending_results)
    assert len(client._redis.pubsub_channels()) == 1
    # and that not once the client is closed
    redis = connect(client.url)
    client.close()
    end = time.monotonic() + WAIT_S
    while redis.pubsub_channels():  # Redis hears of it a moment later
        assert time.monotonic() < end
    redis.close()


def test_a_task_that_failed_with_a_builtin_error_is_no_failure_of_redis(client: Client) -> None:
    handle = client.classify("data:,x", ["a"])
    client._app.backend.store_result(handle.id, ConnectionError("theirs"), "FAILURE")
    with pytest.raises(ServiceError, match="failed with ConnectionError"):
        handle.get(WAIT_S)
