"""Translates errors of kombu and redis-py to those of `clip_worker.errors`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from clip_worker.errors import QueueUnavailableError, TemporaryError
from clip_worker.quoting import without_password
from clip_worker.redis.errors import fault_of
from clip_worker.redis.pool import PoolBusyError


@contextmanager
def translated(url: str) -> Iterator[None]:
    """Translate the errors that are raised inside the block.

    Args:
        url: URL of the Redis, for the message.

    Raises:
        QueueUnavailableError: Redis can't be reached, or rejects the command; with the reason.
    """
    try:
        yield
    except TemporaryError as error:  # from `UploadStore` and others, which don't know the URL
        if isinstance(error.__cause__, RedisError):
            raise _unavailable(url, error.__cause__) from error
        raise
    except (OperationalError, RedisError, ConnectionError, TimeoutError) as error:
        raise _unavailable(url, error) from error


def _unavailable(url: str, error: BaseException) -> QueueUnavailableError:
    where = f"Redis at {without_password(url)}"
    if isinstance(error, PoolBusyError):
        return QueueUnavailableError(f"{where} is busy: {error}. {error.remedy}.")
    if fault := fault_of(error):
        return QueueUnavailableError(f"{where} can't be used: {fault}.")
    return QueueUnavailableError(
        f"{where} can't be used: {_reason(error)}. Start it, or check the URL "
        "(CLIP_WORKER_REDIS_URL)."
    )


def _reason(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    # After "No master found" redis-py adds details about each sentinel.
    return lines[0].partition(" : <")[0].rstrip(".") if lines else type(error).__name__
