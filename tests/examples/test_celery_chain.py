"""The plain Celery recipe: a chain from a real clip-worker into a stock Celery worker."""

from __future__ import annotations

import json
import sys

import pytest
from support.recipe import EXAMPLES, full_queue_url, run

pytestmark = [pytest.mark.integration, pytest.mark.slow]

FOLDER = EXAMPLES / "celery_chain"


@pytest.fixture
def backend(recipe):
    """The application's own worker."""
    worker = recipe.start(
        *("celery", "--workdir", str(FOLDER), "-A", "tagging", "worker"),
        *("-Q", "tagging", "-P", "solo", "--loglevel", "info", "-n", "tagging@%h"),
        REDIS_URL=recipe.redis_url,
    )
    worker.wait_for_log(" ready.")
    return worker


def produce(backend, uri, labels, **options):
    script = str(FOLDER / "produce.py")
    return run(sys.executable, script, "7", uri, *labels, REDIS_URL=backend.redis, **options)


def test_the_applications_own_task_gets_the_classification_or_the_failure(
    backend, image, image_uri
):
    answer = json.loads(produce(backend, image_uri, image.labels))
    assert (answer["photo"], answer["label"]) == (7, image.answer)

    produce(backend, image_uri + ".missing", image.labels, status=1)
    backend.wait_for_log("'photo': 7, 'error': 'ImageUnavailableError'")
    assert "FILE_NOT_FOUND" in backend.log

    produce(backend, image_uri, image.labels, status=1, EXPIRES_S="-1")
    backend.wait_for_log("'photo': 7, 'error': 'ExpiredError'")


def test_nothing_is_sent_while_the_queue_is_full(full_queue, redis_url, image, image_uri):
    script, url = str(FOLDER / "produce.py"), full_queue_url(redis_url)
    run(sys.executable, script, "7", image_uri, *image.labels, status=1, REDIS_URL=url)
    assert full_queue.llen("clip") == 500
