"""Tag one photo: clip-worker classifies it, then the application's own task gets the answer.

python examples/celery_chain/produce.py 7 https://example.org/cat.jpg cat dog
"""

from __future__ import annotations

import json
import os
import sys
import time

from celery import chain
from celery.result import AsyncResult
from tagging import QUEUE, app, keep_failure, keep_label

MAX_WAITING = 500  # messages in clip-worker's queue
EXPIRES_S = float(os.environ.get("EXPIRES_S", "120"))  # a photo that waits longer fails


def tag(photo_id: int, image: str, labels: list[str]) -> AsyncResult:
    """Send the chain; the result is that of its last task."""
    with app.connection_for_write() as connection:
        if connection.default_channel.client.llen("clip") >= MAX_WAITING:
            raise RuntimeError("Too many photos are waiting; try again later.")
    request = {"image": image, "labels": labels, "k": 3, "deadline": time.time() + EXPIRES_S}
    classify = app.signature("clip.classify", kwargs=request)
    # clip-worker sends the next task, and does not know the routes of this application.
    keep = keep_label.s(photo_id).set(queue=QUEUE)
    on_error = keep_failure.s(photo_id).set(queue=QUEUE)
    return chain(classify, keep).on_error(on_error).apply_async()


def main(photo_id: str, image: str, *labels: str) -> None:
    """Tag one photo and print what the application's task made of it."""
    print(json.dumps(tag(int(photo_id), image, list(labels)).get(timeout=60)))


if __name__ == "__main__":
    main(*sys.argv[1:])
