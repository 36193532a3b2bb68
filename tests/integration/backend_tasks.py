"""The backend's tasks, which go before clip-worker's and on after them."""

from __future__ import annotations

from typing import Any

from backend_app import app
from celery import Task

RETRIES = 2


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
