"""Which Redis URLs are taken, and the connection that goes with one."""

from __future__ import annotations

from redis import Redis

from worker.errors import InvalidRequestError
from worker.quoting import quote, without_password

SCHEMES = ("redis://", "rediss://")
SOCKET_TIMEOUT_S = 5.0  # without one a process hangs for good when the network is cut


def check_redis_url(url: str) -> str:
    """Give the URL back if redis-py can read it.

    Raises:
        InvalidRequestError: `BAD_REDIS_URL`.
    """
    try:
        if not url.startswith(SCHEMES):
            raise ValueError("another scheme")  # noqa: TRY301  # one sentence serves both
        Redis.from_url(url).close()
    except (ValueError, TypeError) as error:
        raise InvalidRequestError(
            f"{quote(without_password(url))} is no Redis URL; give one such as "
            "redis://localhost:6379/0.",
            "BAD_REDIS_URL",
        ) from error
    return url


def connect(url: str) -> Redis:
    """A client for a checked URL, which connects when it is first used."""
    return Redis.from_url(
        url, socket_timeout=SOCKET_TIMEOUT_S, socket_connect_timeout=SOCKET_TIMEOUT_S
    )
