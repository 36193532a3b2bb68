"""Turns what kombu and redis-py raise into the errors of `worker.errors`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from worker.errors import QueueUnavailableError, TemporaryError
from worker.quoting import without_password
from worker.redis.errors import fault_of
from worker.redis.pool import PoolBusyError


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
