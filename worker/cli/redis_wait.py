"""Waits for a Redis that may still be starting."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from redis.exceptions import AuthenticationError

from clip_worker.errors import QueueUnavailableError
from clip_worker.redis.error_translation import translated
from clip_worker.redis.url import connect

PAUSE_S = 1.0


def wait_for_redis(
    urls: Iterable[str],
    limit_s: float,
    say: Callable[[str], None],
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Wait until every Redis answers; report once if one of them doesn't.

    Args:
        urls: URLs of the broker and the result backend.
        limit_s: Longest wait in total, in seconds.
        say: Called with the report.
        clock: Monotonic seconds.
        sleep: Waits for a number of seconds.

    Raises:
        QueueUnavailableError: One did not answer in time, or rejected the password.
    """
    end, reported = clock() + limit_s, False
    for url in dict.fromkeys(urls):
        while (error := _failure(url)) is not None:
            if isinstance(error.__cause__, AuthenticationError):
                raise error
            if clock() >= end:
                raise QueueUnavailableError(
                    f"Gave up after waiting {limit_s:g} s for Redis. {error}"
                ) from error
            if not reported:
                say(f"{error} Waiting for it for up to {limit_s:g} s ...")
                reported = True
            sleep(PAUSE_S)


def _failure(url: str) -> QueueUnavailableError | None:
    with connect(url, retries=0) as redis:
        try:
            with translated(url):
                redis.ping()
        except QueueUnavailableError as error:
            return error
    return None
