"""Waiting for a Redis that may still be starting."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from redis.exceptions import AuthenticationError

from worker.errors import QueueUnavailableError
from worker.redis.error_translation import translated
from worker.redis.url import connect

PAUSE_S = 1.0


def wait_for_redis(
    urls: Iterable[str],
    limit_s: float,
    say: Callable[[str], None],
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Return when every Redis answers; say once, at once, that one of them doesn't.

    Args:
        urls: Broker and result store.
        limit_s: Longest wait in all, in seconds.
        say: Takes the one sentence.
        clock: Monotonic seconds.
        sleep: Waits for so many seconds.

    Raises:
        QueueUnavailableError: One did not answer in time, or refuses the password.
    """
    end, told = clock() + limit_s, False
    for url in dict.fromkeys(urls):
        while (error := _failure(url)) is not None:
            if isinstance(error.__cause__, AuthenticationError):
                raise error
            if clock() >= end:
                raise QueueUnavailableError(f"After {limit_s:g} s, still: {error}") from error
            if not told:
                say(f"{error} Waiting for it for up to {limit_s:g} s ...")
                told = True
            sleep(PAUSE_S)


def _failure(url: str) -> QueueUnavailableError | None:
    with connect(url, retries=0) as redis:
        try:
            with translated(url):
                redis.ping()
        except QueueUnavailableError as error:
            return error
    return None
