"""The FastAPI recipe: uvicorn, a real worker, server-sent events."""

from __future__ import annotations

import json

import pytest
from support.recipe import EXAMPLES, full_queue_url, photo_form

pytestmark = [pytest.mark.integration, pytest.mark.slow]


def serve(recipe, image, redis_url):
    return recipe.serve(
        *("uvicorn", "--app-dir", str(EXAMPLES / "fastapi"), "app:app", "--port", "0"),
        REDIS_URL=redis_url,
        LABELS=",".join(image.labels),
    )


def event_of(http, url):
    """The name and the data of a stream's only event."""
    stream = http.request("GET", url)
    assert stream.headers["Content-Type"].startswith("text/event-stream")
    lines = [line for line in stream.data.decode().splitlines() if line and line[0] != ":"]
    fields = dict(line.split(": ", 1) for line in lines)
    assert len(lines) == len(fields)
    return fields["event"], json.loads(fields["data"])


def test_the_labels_of_an_upload_come_as_an_event_and_what_is_no_photo_is_refused(
    recipe, http, image
):
    site = serve(recipe, image, recipe.redis_url)
    # when a photo is uploaded
    queued = http.request("POST", f"{site}/photos", fields=photo_form(image))
    # then
    assert queued.status == 202, queued.data
    name, labels = event_of(http, site + queued.json()["events"])
    assert (name, labels[0]["label"]) == ("labels", image.answer)

    # what is too large, of another type, or two files, is refused before it is stored
    large = {"photo": ("large.jpg", bytes(10_000_001), "image/jpeg")}
    assert http.request("POST", f"{site}/photos", fields=large).status == 413
    text = photo_form(image, "text/html")
    assert http.request("POST", f"{site}/photos", fields=text).status == 415
    two = photo_form(image) | {"other": ("b.jpg", b"b", "image/jpeg")}
    assert http.request("POST", f"{site}/photos", fields=two).status == 400

    # what only claims to be a photo is found out by the worker
    claimed = {"photo": ("page.jpg", b"<html>", "image/jpeg")}
    queued = http.request("POST", f"{site}/photos", fields=claimed)
    assert event_of(http, site + queued.json()["events"]) == (
        "failed",
        {"code": "DECODE_UNRECOGNIZED"},
    )

    # and the page has the script that listens
    assert b"new EventSource(" in http.request("GET", site).data


def test_while_the_queue_is_full_an_upload_is_refused_for_now(recipe, full_queue, http, image):
    site = serve(recipe, image, full_queue_url(recipe.redis_url))
    refused = http.request("POST", f"{site}/photos", fields=photo_form(image))
    assert (refused.status, refused.json()) == (503, {"code": "QUEUE_FULL"})
    assert refused.headers["Retry-After"]
    assert full_queue.llen("clip") == 500
    assert full_queue.keys("clip-worker:upload:*") == []
