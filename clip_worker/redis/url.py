"""Validates Redis URLs and opens clients for them."""

from __future__ import annotations

from typing import Any

from redis import Redis
from redis.backoff import FullJitterBackoff
from redis.connection import parse_url
from redis.exceptions import ConnectionError as LostConnectionError
from redis.retry import Retry
from redis.sentinel import Sentinel

from clip_worker.contract.text import LONE_SURROGATE, is_text
from clip_worker.errors import InvalidRequestError
from clip_worker.quoting import quote, without_password
from clip_worker.redis.connections import (
    MasterOnlyConnection,
    MasterOnlyManagedConnection,
    MasterOnlySSLConnection,
)
from clip_worker.redis.pool import MOST_CONNECTIONS, WaitingPool, WaitingSentinelPool
from clip_worker.redis.sentinel_url import SCHEME as SENTINEL_SCHEME
from clip_worker.redis.sentinel_url import SentinelUrl
from clip_worker.redis.tls import SCHEME as TLS_SCHEME
from clip_worker.redis.tls import split_tls

SCHEMES = ("redis://", TLS_SCHEME)
DEFAULT_REDIS_URL = "redis://localhost:6379/0"
SOCKET_TIMEOUT_S = 5.0  # without it a process would hang forever when the network is cut
SOCKET_LIMITS = {"socket_timeout": SOCKET_TIMEOUT_S, "socket_connect_timeout": SOCKET_TIMEOUT_S}
# A lost connection is retried at once, then twice more within about a second. A missing reply is
# not waited for again.
RETRIES = 3
FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 0.5


def redis_url_remedy(url: str) -> str | None:
    """What to change about an invalid URL; None if it is valid."""
    if not isinstance(url, str) or not url.startswith((SENTINEL_SCHEME, *SCHEMES)):
        return f"give one such as {DEFAULT_REDIS_URL}"
    if not is_text(url):
        return f"it {LONE_SURROGATE}"
    try:
        if url.startswith(SENTINEL_SCHEME):
            SentinelUrl.parse(url)
        else:
            split_tls(url)
    except ValueError as error:
        return str(error)
    return (
        None
        if url.startswith(SENTINEL_SCHEME) or _is_accepted(url)
        else f"give one such as {DEFAULT_REDIS_URL}"
    )


def _is_accepted(url: str) -> bool:
    """Whether redis-py accepts the URL with all its parameters."""
    try:
        _direct(url, 0).connection_pool.make_connection()
    except (ValueError, TypeError):
        return False
    return True


def check_redis_url(url: str) -> str:
    """Return the URL if it is valid: `redis://`, `rediss://` or `sentinel://`.

    Raises:
        InvalidRequestError: `BAD_REDIS_URL`.
    """
    if remedy := redis_url_remedy(url):
        raise InvalidRequestError(
            f"{quote(without_password(url) if isinstance(url, str) else url)} is not a Redis URL; "
            f"{remedy}.",
            "BAD_REDIS_URL",
        )
    return url


def connect(
    url: str,
    *,
    retries: int = RETRIES,
    most: int = MOST_CONNECTIONS,
    timeout_s: float | None = None,
) -> Redis:
    """A client for a valid URL, which connects when it is first used. Thread-safe.

    A server that becomes a replica is treated as a lost connection; with Sentinel the next attempt
    finds the new master.

    Args:
        url: See `check_redis_url`.
        retries: How often a command is sent again after a lost connection; it may run twice.
        most: Maximum number of connections; see `clip_worker.redis.pool`.
        timeout_s: Longest wait for a connection or a reply; None for 5 s, or what the URL says.
    """
    open_client = _managed if url.startswith(SENTINEL_SCHEME) else _direct
    client = open_client(url, retries)
    client.connection_pool.max_connections = most
    if timeout_s is not None:
        limits = dict.fromkeys(SOCKET_LIMITS, timeout_s)
        client.connection_pool.connection_kwargs.update(limits)
    return client


def server_options(url: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """redis-py's options of connections to a `redis://` or `rediss://` URL; its TLS options."""
    address, tls = split_tls(url)
    options = parse_url(address)  # type: ignore[no-untyped-call]  # redis-py's
    options.pop("connection_class", None)
    return SOCKET_LIMITS | options, tls


def _direct(url: str, retries: int) -> Redis:
    options, tls = server_options(url)
    kind = MasterOnlySSLConnection if tls else MasterOnlyConnection
    pool = WaitingPool(**options, **tls, connection_class=kind, **_retrying(retries))
    return Redis.from_pool(pool)


def _managed(url: str, retries: int) -> Redis:
    parsed = SentinelUrl.parse(url)
    sentinel = Sentinel(  # type: ignore[no-untyped-call]  # redis-py's
        list(parsed.hosts), sentinel_kwargs=parsed.sentinel_options
    )
    client: Redis = sentinel.master_for(  # type: ignore[no-untyped-call]  # likewise
        parsed.master,
        connection_pool_class=WaitingSentinelPool,
        connection_class=MasterOnlyManagedConnection,
        db=parsed.db,
        **SOCKET_LIMITS,
        **parsed.credentials,
        **_retrying(retries),
    )
    return client


def _retrying(retries: int) -> dict[str, Any]:
    """redis-py's options; before version 6 it retries nothing that `retry_on_error` lacks."""
    return {
        "retry": Retry(pauses(), retries, supported_errors=(LostConnectionError,)),
        "retry_on_error": [LostConnectionError],
    }


def pauses() -> FullJitterBackoff:
    """The pauses before a command is sent again after a lost connection."""
    return FullJitterBackoff(cap=LONGEST_PAUSE_S, base=FIRST_PAUSE_S)
