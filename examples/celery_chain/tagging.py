"""A Celery application whose task follows clip-worker's; it does not need this package.

celery --workdir examples/celery_chain -A tagging worker -Q tagging
"""

from __future__ import annotations

import os
from typing import Any

from celery import Celery

REDIS_URL = os.environ.get("REDIS_URL", "redis://localhost:6379/0")
QUEUE = "tagging"

app = Celery("tagging", broker=REDIS_URL, backend=REDIS_URL)
app.conf.update(
    task_default_queue=QUEUE,
    task_routes={"clip.*": {"queue": "clip"}},  # the queue that clip-worker reads
    result_expires=3600,
    broker_connection_retry_on_startup=True,
)


@app.task
def keep_label(classification: dict[str, Any], photo_id: int) -> dict[str, Any]:
    """Gets the result of `clip.classify`, then the arguments of its own signature."""
    best = classification["predictions"][0]
    return {"photo": photo_id, "label": best["label"], "probability": best["probability"]}


@app.task
def keep_failure(task_id: str, photo_id: int) -> dict[str, Any]:
    """Gets the id of the task that failed; its result is the exception."""
    error = app.AsyncResult(task_id).result
    return {"photo": photo_id, "error": type(error).__name__, "message": str(error)}
