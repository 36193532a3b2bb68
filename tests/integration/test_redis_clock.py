"""Redis's clock is set back by an hour: a dead worker's messages don't wait for it to catch up."""

from __future__ import annotations

import pytest
from support import redis_clock
from support.queue_state import unacked
from support.waiting import wait_until
from support.worker_process import WorkerProcess

from clip_worker.contract.keys import DEFAULT_QUEUE, QueueKeys

pytestmark = [pytest.mark.integration, pytest.mark.slow]

KEYS = QueueKeys(DEFAULT_QUEUE)
LABELS = ["red square", "blue circle"]
HOUR_S = 3600
SETTINGS = {"lease_s": "3", "allow_private": "true", "fetch_timeout_s": "600"}
LIMIT_S = 60.0


def test_what_a_dead_worker_held_is_taken_over_and_what_a_living_one_holds_is_not(
    broker, redis_url, client, tmp_path, site
):
    # given a worker that dies with tasks in flight, and then a clock that is set back
    with WorkerProcess(redis_url, tmp_path, name="dead", **SETTINGS):
        wait_until(lambda: broker.exists(KEYS.tick))
        handles = client.submit_many([site.url(f"/{n}") for n in range(30)], LABELS)
        wait_until(lambda: unacked(broker, KEYS) > 0)
    assert unacked(broker, KEYS) > 0
    redis_clock.set_back(broker, KEYS, HOUR_S)
    with WorkerProcess(redis_url, tmp_path, name="living", **SETTINGS) as living:
        # then another worker takes all of them over
        wait_until(lambda: "from a lost worker" in living.log, lambda: living.log)
        # and when the clock is set back under it, then it goes on with what it holds
        wait_until(lambda: unacked(broker, KEYS) > 0)
        taken_over = living.log.count("from a lost worker")
        redis_clock.set_back(broker, KEYS, HOUR_S)
        site.go.set()
        assert all(handle.get(LIMIT_S).predictions for handle in handles)
        assert living.log.count("from a lost worker") == taken_over
        assert "results were not stored" not in living.log
