"""clip-worker's application with tasks that publish the next message of their own id."""

from __future__ import annotations

from celery import Task
from celery.exceptions import Reject

from worker.celery import app

MOST_RETRIES = 3


@app.task(bind=True, name="own.retries", max_retries=MOST_RETRIES)
def retries(self: Task) -> int:
    """Ask for itself again three times; how often that was."""
    if self.request.retries < MOST_RETRIES:
        raise self.retry(countdown=0)
    return int(self.request.retries)


@app.task(
    bind=True,
    name="own.autoretries",
    autoretry_for=(ValueError,),
    max_retries=MOST_RETRIES,
    retry_backoff=False,
    default_retry_delay=0,
)
def autoretries(self: Task) -> int:
    """Raise three times what Celery tries again for."""
    if self.request.retries < MOST_RETRIES:
        raise ValueError("not yet")
    return int(self.request.retries)


@app.task(bind=True, name="own.replaces")
def replaces(self: Task, number: int) -> int:
    """Leave the answer to another task, under its own id."""
    raise self.replace(app.signature("own.doubles", args=(number,)))


@app.task(name="own.doubles")
def doubles(number: int) -> int:
    """Twice the number."""
    return 2 * number


@app.task(name="own.rejects")
def rejects() -> None:
    """Refuse the message for good."""
    raise Reject("not for me", requeue=False)


@app.task(name="own.has_no_memory")
def has_no_memory() -> None:
    """Fail as Python does when it has no more memory."""
    raise MemoryError
