"""Checks when a worker starts whether Redis may evict messages or results.

Below `maxmemory` Redis drops nothing. At it, `noeviction` refuses writes, and producers and workers
get errors; `allkeys-*` drops any key, even a queue with all its messages; `volatile-*` drops keys
with an expiry, which queues don't have, but results and uploads do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from redis.exceptions import ResponseError

from clip_worker.errors import QueueUnavailableError, ServiceError
from clip_worker.quoting import quote, without_password
from clip_worker.redis.error_translation import translated
from clip_worker.redis.url import connect

if TYPE_CHECKING:
    from redis import Redis

    from worker.settings import Settings

SAFE = "noeviction"
REMEDY = f"set its maxmemory-policy to {SAFE}"


def check_eviction(settings: Settings) -> list[str]:
    """Look at the Redis of the queue, and at that of the results.

    Returns:
        A sentence for each that may drop something, or whose policy can't be read.

    Raises:
        ServiceError: `REDIS_EVICTS`: the queue's may drop messages.
    """
    warnings = []
    for url in dict.fromkeys([settings.redis_url, settings.results_url]):
        try:
            with translated(url), connect(url, retries=0) as redis:
                limit, policy = _memory(redis)
        except QueueUnavailableError as error:
            warnings.append(f"warning: can't read the eviction policy of Redis. {error}")
            continue
        where = without_password(url)
        if limit and policy.startswith("allkeys-") and url == settings.redis_url:
            raise ServiceError(
                f"Redis at {where} may drop waiting messages when its memory is full: its "
                f"maxmemory-policy is {policy}; {REMEDY} (CONFIG SET maxmemory-policy {SAFE}), or "
                "give clip-worker a Redis of its own.",
                "REDIS_EVICTS",
            )
        if found := danger(limit, policy):
            warnings.append(f"warning: Redis at {where} {found}.")
    return warnings


def danger(limit: int, policy: str) -> str | None:
    """What Redis may drop, as the second half of a sentence; None if nothing.

    Args:
        limit: Its `maxmemory` in bytes, 0 for none.
        policy: Its `maxmemory-policy`; empty if unknown.
    """
    if policy == SAFE:
        return None
    if not policy:
        return (
            "answers neither INFO nor CONFIG, so it may drop messages; make sure that its "
            f"maxmemory-policy is {SAFE}"
        )
    if policy.startswith("volatile-"):  # which drops nothing without a limit
        text = (
            f"drops results and uploads early when its memory is full ({policy}), and their "
            f"callers wait in vain; {REMEDY}"
        )
        return text if limit else None
    if not policy.startswith("allkeys-"):
        return f"has the unknown maxmemory-policy {quote(policy)}; {REMEDY}"
    if limit:
        return (
            f"drops results when its memory is full ({policy}), and callers wait in vain; {REMEDY}"
        )
    return (
        f"would drop waiting messages ({policy}) if it had a memory limit; {REMEDY} before you set "
        "one"
    )


def _memory(redis: Redis) -> tuple[int, str]:
    """Limit in bytes, 0 for none, and policy; "" where the server doesn't say."""
    try:
        found = redis.info("memory")
        return int(found["maxmemory"]), str(found["maxmemory_policy"])
    except (ResponseError, LookupError):  # not allowed, or not known
        pass
    try:
        found = cast("dict[str, Any]", redis.config_get("maxmemory*"))
        return int(found["maxmemory"]), str(found["maxmemory-policy"])
    except (ResponseError, LookupError):
        return 0, ""
