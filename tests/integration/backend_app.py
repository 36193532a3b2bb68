"""A backend's own Celery application: its tasks go before clip-worker's and on after them.

Its workers are stock Celery, on Celery's default queue; all that it knows of ours is one route.
"""

from __future__ import annotations

import os
from typing import Any

from celery import Celery, Task

REDIS_URL = os.environ.get("BACKEND_REDIS_URL", "redis://localhost:6379/0")
RETRIES = 2

app = Celery("backend", broker=REDIS_URL, backend=REDIS_URL)
app.conf.broker_connection_retry_on_startup = True  # or Celery warns of its next version's default
app.conf.task_routes = {"clip.*": {"queue": "clip"}}


@app.task(name="backend.find_picture")
def find_picture(uri: str) -> str:
    """Where a picture is."""
    return uri


@app.task(name="backend.best_label")
def best_label(result: dict[str, Any]) -> str:
    """What a picture shows."""
    return str(result["predictions"][0]["label"])


@app.task(name="backend.best_labels")
def best_labels(results: list[dict[str, Any]]) -> list[str]:
    """What several pictures show."""
    return [best_label(result) for result in results]


@app.task(name="backend.note_failure")
def note_failure(task_id: str) -> str:
    """Whose picture failed."""
    return task_id


@app.task(bind=True, name="backend.try_again", max_retries=RETRIES, default_retry_delay=0)
def try_again(self: Task, label: str) -> str:
    """Succeed after some attempts."""
    if self.request.retries < RETRIES:
        raise self.retry()
    return label
