"""From what Celery, kombu and redis-py raise on the client's side to the errors of this package."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from celery.exceptions import TaskRevokedError
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
from worker.redis_faults import fault_of


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
    return ServiceError(
        f"Task {task_id} failed with {type(error).__name__} ({quote(str(error))}); the worker's "
        "log tells where."
    )


def _unavailable(url: str, error: BaseException) -> QueueUnavailableError:
    where = f"Redis at {without_password(url)}"
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
