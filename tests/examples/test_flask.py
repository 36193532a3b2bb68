"""The Flask recipe: its own server, a real worker."""

from __future__ import annotations

import json
from contextlib import closing

import pytest
from support.recipe import EXAMPLES, Recipe, full_queue_url, photo_form, poll
from support.worker_process import WorkerProcess

pytestmark = [pytest.mark.integration, pytest.mark.slow]

SECRET = "whsec_" + "A" * 44


def serve(recipe, image, **config):
    config = {"REDIS_URL": recipe.redis_url, "LABELS": json.dumps(image.labels)} | config
    return recipe.serve(
        *("flask", "--app", str(EXAMPLES / "flask" / "app.py"), "run", "--port", "0"),
        **{f"FLASK_{name}": value for name, value in config.items()},
    )


@pytest.fixture
def site(recipe, image):
    return serve(recipe, image, MAX_CONTENT_LENGTH="100000")


def test_an_uploaded_photo_is_tagged_and_what_is_no_photo_is_refused(site, http, image):
    # when a photo is uploaded
    queued = http.request("POST", f"{site}/photos", fields=photo_form(image))
    # then
    assert queued.status == 202, queued.data
    answer = poll(http, site + queued.headers["Location"], lambda answer: answer.status != 202)
    assert answer.json()["predictions"][0]["label"] == image.answer

    # what is too large, of another type, or two files, is refused before it is stored
    large = {"photo": ("large.jpg", bytes(200_000), "image/jpeg")}
    assert http.request("POST", f"{site}/photos", fields=large).status == 413
    text = photo_form(image, "text/html")
    assert http.request("POST", f"{site}/photos", fields=text).status == 415
    two = photo_form(image) | {"other": "1"}
    assert http.request("POST", f"{site}/photos", fields=two).status == 413
    assert http.request("POST", f"{site}/photos", fields={"other": "1"}).status == 400

    # what only claims to be a photo is found out by the worker
    claimed = {"photo": ("page.jpg", b"<html>", "image/jpeg")}
    queued = http.request("POST", f"{site}/photos", fields=claimed)
    answer = poll(http, site + queued.headers["Location"], lambda answer: answer.status != 202)
    assert (answer.status, answer.json()["code"]) == (422, "DECODE_UNRECOGNIZED")


def test_while_the_queue_is_full_an_upload_is_refused_for_now(recipe, full_queue, http, image):
    site = serve(recipe, image, REDIS_URL=full_queue_url(recipe.redis_url))
    refused = http.request("POST", f"{site}/photos", fields=photo_form(image))
    assert (refused.status, refused.json()) == (503, {"code": "QUEUE_FULL"})
    assert refused.headers["Retry-After"]
    assert full_queue.llen("clip") == 500
    assert full_queue.keys("clip-worker:upload:*") == []


def test_the_worker_posts_the_label_to_the_application(server, tmp_path, image, http):
    # given a worker with a secret, an application that receives its posts, one that uploads
    settings = {"webhook_secret": SECRET, "allow_networks": "127.0.0.1/32"}
    with (
        WorkerProcess(server.url, tmp_path, **settings),
        closing(Recipe(server.url, tmp_path)) as recipe,
    ):
        receiver = serve(recipe, image, WEBHOOK_SECRET=SECRET)
        hook = f"{receiver}/photos/hook"
        site = serve(recipe, image, WEBHOOK_URL=hook)
        # when
        queued = http.request("POST", f"{site}/photos", fields=photo_form(image)).json()
        # then
        recipe.started[0].wait_for_log(f"Photo {queued['id']}: {image.answer}")
        # and what a stranger posts is refused
        assert http.request("POST", hook, body=b"{}").status == 400
