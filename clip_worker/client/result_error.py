"""Translates a task's stored exception into the error that the caller gets."""

from __future__ import annotations

from celery.exceptions import NotRegistered, TaskRevokedError

from clip_worker.contract.keys import DEFAULT_QUEUE
from clip_worker.errors import ClipWorkerError, ExpiredError, ServiceError
from clip_worker.quoting import quote


def result_error(error: BaseException, task_id: str) -> ClipWorkerError:
    """The error that `Handle.get` raises for the exception that a task failed with."""
    if isinstance(error, ClipWorkerError):
        return error
    if isinstance(error, TaskRevokedError):
        return ExpiredError(f"Task {task_id} was revoked or expired before it was run.", "REVOKED")
    if isinstance(error, NotRegistered):
        task = quote(str(error.args[0])) if error.args else "it"
        return ServiceError(
            f"Task {task_id} was taken by a worker that does not know {task}, probably another "
            "Celery application's worker on the same queue; use a queue that only clip-worker "
            "consumes, and the same one for the workers (CLIP_WORKER_QUEUE) and the client "
            f"(Client(queue=...), {DEFAULT_QUEUE!r} by default).",
            "NOT_REGISTERED",
        )
    return ServiceError(
        f"Task {task_id} failed with {type(error).__name__} ({quote(str(error))}); see the "
        "worker's log for the traceback."
    )
