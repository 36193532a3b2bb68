"""From what Celery, kombu and redis-py raise on the client's side to the errors of this package."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from celery.exceptions import NotRegistered, TaskRevokedError
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from worker.errors import (
    ClipWorkerError,
    ExpiredError,
    QueueUnavailableError,
    ServiceError,
    TemporaryError,
)
from worker.quoting import quote, without_password
from worker.redis.errors import fault_of
from worker.redis.pool import PoolBusyError
from worker.settings import DEFAULT_QUEUE


@contextmanager
def translated(url: str) -> Iterator[None]:
    """Turn lower errors inside the block into ours.

    Args:
        url: Of the Redis that is talked to, for the sentence.

    Raises:
        QueueUnavailableError: Redis can't be reached, or refuses; with the reason.
    """
    try:
        yield
    except TemporaryError as error:  # from our own stores, which don't know the URL
        if isinstance(error.__cause__, RedisError):
            raise _unavailable(url, error.__cause__) from error
        raise
    except (OperationalError, RedisError, ConnectionError, TimeoutError) as error:
        raise _unavailable(url, error) from error


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


def _unavailable(url: str, error: BaseException) -> QueueUnavailableError:
    where = f"Redis at {without_password(url)}"
    if isinstance(error, PoolBusyError):
        return QueueUnavailableError(
            f"{where} can't be used by more threads: {error}. Use fewer threads, or several "
            "clients."
        )
    if fault := fault_of(error):
        return QueueUnavailableError(f"{where} can't be used: {fault}.")
    return QueueUnavailableError(
        f"{where} can't be used: {_reason(error)}. Start it, or give the right URL "
        "(CLIP_WORKER_REDIS_URL)."
    )


def _reason(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    # redis-py follows "No master found" with all that it knows of each sentinel.
    return lines[0].partition(" : <")[0].rstrip(".") if lines else type(error).__name__
