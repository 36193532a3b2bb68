"""Translates the error that a task failed with into one that the caller gets."""

from __future__ import annotations

from celery.exceptions import NotRegistered, TaskRevokedError

from worker.errors import ClipWorkerError, ExpiredError, ServiceError
from worker.quoting import quote
from worker.settings import DEFAULT_QUEUE


def result_error(error: BaseException, task_id: str) -> ClipWorkerError:
    """The error that a caller of `Handle.get` sees for what a task failed with."""
    if isinstance(error, ClipWorkerError):
        return error
    if isinstance(error, TaskRevokedError):
        return ExpiredError(f"Task {task_id} was revoked or expired before it was run.", "REVOKED")
    if isinstance(error, NotRegistered):
        task = quote(str(error.args[0])) if error.args else "it"
        return ServiceError(
            f"Task {task_id} was taken by a worker that does not know {task}, most likely a "
            "backend's own Celery worker on the same queue; let only clip-worker read its queue, "
            "and set the same one for the workers (CLIP_WORKER_QUEUE) and here "
            f"(Client(queue=...); {DEFAULT_QUEUE!r} by default).",
            "NOT_REGISTERED",
        )
    return ServiceError(
        f"Task {task_id} failed with {type(error).__name__} ({quote(str(error))}); the worker's "
        "log tells where."
    )
