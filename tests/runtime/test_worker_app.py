"""What the worker's Celery application reads, and where it sends what it goes on with."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from clip_worker.redis.celery_app import RedisCelery
from worker.celery import worker_configuration
from worker.settings import Settings


@pytest.fixture
def app() -> RedisCelery:
    app = RedisCelery("worker", set_as_current=False)
    app.conf.update(worker_configuration(Settings.load(queue="pictures")))
    return app


def queue_of(app: RedisCelery, task: str, **options: str) -> str:
    return str(app.amqp.router.route(options, task)["queue"].name)


def test_the_queue_that_is_set_is_read_and_no_other(app: RedisCelery) -> None:
    assert list(app.amqp.queues) == list(app.amqp.queues.consume_from) == ["pictures"]


def test_our_tasks_go_to_our_queue_and_those_of_others_to_celerys_default(app: RedisCelery) -> None:
    assert queue_of(app, "clip.classify") == "pictures"
    assert queue_of(app, "backend.best_label") == "celery"
    # where a message says so itself, it goes there
    assert queue_of(app, "clip.classify", queue="urgent") == "urgent"
    assert queue_of(app, "backend.best_label", queue="slow") == "slow"


@pytest.mark.parametrize("given", [None, "ACTIVE"])
def test_threads_of_a_forward_pass_sleep_at_barriers_unless_the_user_says_otherwise(
    given: str | None,
) -> None:
    # given a process that asks for the configuration, as Celery does at the start
    code = (
        "import os, sys, worker; worker.app.conf.worker_pool; "
        "print(os.environ['OMP_WAIT_POLICY'], 'torch' in sys.modules)"
    )
    environment = {k: v for k, v in os.environ.items() if k != "OMP_WAIT_POLICY"}
    if given:
        environment["OMP_WAIT_POLICY"] = given
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    # then it is set before torch is loaded, which reads it then
    assert done.stdout.split() == [given or "PASSIVE", "False"]
