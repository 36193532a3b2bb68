"""From a row to clip-worker's queue, and from its answer back to the row.

clip-worker calls `keep_label` or `keep_failure` on Celery's default queue, which the project's own
workers read.
"""

import time
from functools import cache
from typing import Any

from celery import current_app, shared_task
from django.conf import settings

from clip_worker import Client, ClipWorkerError, QueueUnavailableError
from photos.models import Photo


@cache
def client() -> Client:
    """One a process, made where it is first used: connections do not survive a fork."""
    return Client(settings.REDIS_URL)


@shared_task(autoretry_for=(QueueUnavailableError,), retry_backoff=True, max_retries=10)
def classify(photo_id: int) -> None:
    """Upload the photo's bytes to Redis and queue `clip.classify`."""
    photo = Photo.objects.get(pk=photo_id)
    with photo.file.open() as file:
        image = client().upload(file.read(), ttl_s=settings.PHOTO_UPLOAD_TTL_S)
    current_app.send_task(
        "clip.classify",
        kwargs={
            "image": image,
            "labels": settings.PHOTO_LABELS,
            "k": 1,
            # Not Celery's `expires`, for which it calls no `link_error`.
            "deadline": time.time() + settings.PHOTO_EXPIRES_S,
        },
        link=keep_label.s(photo_id),
        link_error=keep_failure.s(photo_id),
    )


@shared_task(ignore_result=True)
def keep_label(classification: dict[str, Any], photo_id: int) -> None:
    """Write the most probable label into the row."""
    best = classification["predictions"][0]
    Photo.objects.filter(pk=photo_id).update(
        state=Photo.State.TAGGED, label=best["label"], probability=best["probability"], error=""
    )


@shared_task(ignore_result=True)
def keep_failure(task_id: str, photo_id: int) -> None:
    """Write why there is none; the failed task's result is its exception."""
    error = current_app.AsyncResult(task_id).result
    code = error.code if isinstance(error, ClipWorkerError) else type(error).__name__
    Photo.objects.filter(pk=photo_id).update(state=Photo.State.FAILED, error=code)
