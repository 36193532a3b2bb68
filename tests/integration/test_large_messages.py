"""Messages about many images, on a worker for which they are many."""

from __future__ import annotations

import json

import own_app
import pytest
from support.queue_state import unacked
from support.waiting import wait_until
from support.worker_process import WorkerProcess

from clip_worker.contract import MAX_IMAGES
from clip_worker.contract.keys import DEFAULT_QUEUE, QueueKeys

pytestmark = [pytest.mark.integration, pytest.mark.slow]

LIMIT_S = 180.0
KEYS = QueueKeys(DEFAULT_QUEUE)
TIMEOUT_S = 4  # MAX_IMAGES slow images take twice as long at least
AS_CELERY_TASK = {"countdown": 0.5}  # an ETA: the message goes the standard way

assert MAX_IMAGES * own_app.SLOW_S > 2 * TIMEOUT_S


def ask(app, images, **options):
    asked = {"images": images, "labels": ["red", "green"]}
    return app.send_task("clip.classify_many", kwargs=asked, queue=DEFAULT_QUEUE, **options)


@pytest.mark.parametrize("way", [{}, AS_CELERY_TASK])
def test_a_large_message_is_not_failed_while_the_worker_makes_progress(
    tmp_path, redis_url, plain, way
):
    slow = own_app.marked_image(own_app.IS_SLOW)
    paths = [tmp_path / f"{number}.png" for number in range(MAX_IMAGES)]
    for path in paths:
        path.write_bytes(slow)
    options = {"task_timeout_s": str(TIMEOUT_S), "replicas": "1", "max_batch": "8"}
    with WorkerProcess(redis_url, tmp_path, app="own_app", **options):
        outcomes = ask(plain, [path.as_uri() for path in paths], **way).get(LIMIT_S)

    failed = [outcome["error"] for outcome in outcomes if outcome["status"] != "ok"]
    assert (len(outcomes), failed) == (MAX_IMAGES, [])


@pytest.mark.parametrize("way", [{}, AS_CELERY_TASK])
def test_a_message_that_stalls_ends_with_what_is_done(tmp_path, client, plain, image, site, way):
    options = {"task_timeout_s": "2", "fetch_timeout_s": "600", "allow_private": "true"}
    with WorkerProcess(client.url, tmp_path, **options):
        images = [image, site.url(), image, site.url(), "file:///no/such"]

        outcomes = ask(plain, images, **way).get(LIMIT_S)

    assert [outcome["status"] for outcome in outcomes] == ["ok", "error", "ok", "error", "error"]
    codes = [outcome["error"]["code"] for outcome in outcomes if outcome["status"] == "error"]
    assert codes[:2] == ["TASK_TIMEOUT"] * 2
    assert codes[2] != "TASK_TIMEOUT"


def test_a_large_message_takes_the_room_of_its_images_and_the_others_stay_for_other_workers(
    tmp_path, client, plain, broker, site
):
    # given: a queue of messages each of which is more than a worker takes at first
    urls = [site.url(f"/{n}") for n in range(4 * 32)]
    messages = [ask(plain, urls[n::4]) for n in range(4)]
    with WorkerProcess(client.url, tmp_path, allow_private="true", fetch_timeout_s="600"):
        # then one is in flight, whatever was taken with it, and the others wait in their order
        wait_until(lambda: (unacked(broker, KEYS), broker.llen(DEFAULT_QUEUE)) == (1, 3))
        queued = [json.loads(m)["headers"]["id"] for m in broker.lrange(DEFAULT_QUEUE, 0, -1)]
        assert queued[::-1] == [message.id for message in messages[1:]]
        assert unacked(broker, KEYS) == 1

        site.go.set()
        assert all(len(message.get(LIMIT_S)) == 32 for message in messages)
        wait_until(lambda: unacked(broker, KEYS) == broker.llen(DEFAULT_QUEUE) == 0)
