"""A Celery application that ignores `CELERY_BROKER_URL` and `CELERY_RESULT_BACKEND`.

In Celery these environment variables override the application's own settings. In the process of a
web application they are meant for that application.
"""

from __future__ import annotations

from typing import Any

from celery import Celery

from clip_worker.redis.sentinel_url import SCHEME as SENTINEL_SCHEME
from clip_worker.redis.sentinel_url import SentinelUrl
from clip_worker.redis.tls import split_tls
from clip_worker.redis.url import SOCKET_TIMEOUT_S

HEALTH_CHECK_S = 25.0


class RedisCelery(Celery):  # type: ignore[misc]  # Celery has no type information
    """A Celery application that takes its URLs only from its configuration."""

    amqp_cls = "clip_worker.redis.kombu_connections:BrokerAMQP"

    @property
    def backend_cls(self) -> str:
        """The result backend's class and URL, which Celery reads here first."""
        url = str(self.conf.first("result_backend"))
        kind = "SentinelResultBackend" if url.startswith(SENTINEL_SCHEME) else "ResultBackend"
        return f"clip_worker.redis.result_backend:{kind}+{url}"

    @backend_cls.setter
    def backend_cls(self, _: object) -> None:
        """Ignore what Celery's constructor sets; the configuration counts."""

    def connection_for_read(self, url: str | None = None, **kwargs: Any) -> Any:
        """A connection to the configured broker."""
        return super().connection_for_read(url or self.conf.first("broker_url"), **kwargs)

    def connection_for_write(self, url: str | None = None, **kwargs: Any) -> Any:
        """A connection to the configured broker."""
        return super().connection_for_write(url or self.conf.first("broker_url"), **kwargs)


def redis_configuration(broker_url: str, result_url: str) -> dict[str, Any]:
    """The configuration that client and worker share: JSON only, and sockets with keepalive.

    Args:
        broker_url: URL of the broker, checked by `clip_worker.redis.url`.
        result_url: URL of the result backend.
    """
    broker, broker_options, broker_tls = _for_celery(broker_url)
    results, result_options, results_tls = _for_celery(result_url)
    transport = {
        "socket_timeout": SOCKET_TIMEOUT_S,
        "socket_connect_timeout": SOCKET_TIMEOUT_S,
        "socket_keepalive": True,
        "health_check_interval": HEALTH_CHECK_S,
    }
    return {
        "broker_url": broker,
        "broker_transport_options": transport | broker_options,
        "broker_use_ssl": broker_tls,
        "result_backend": results,
        "result_backend_transport_options": result_options,
        "redis_backend_use_ssl": results_tls,
        "redis_socket_timeout": SOCKET_TIMEOUT_S,
        "redis_socket_connect_timeout": SOCKET_TIMEOUT_S,
        "redis_socket_keepalive": True,
        "redis_backend_health_check_interval": HEALTH_CHECK_S,
        "task_serializer": "json",
        "result_serializer": "json",
        "accept_content": ["json"],
        "event_serializer": "json",
        "enable_utc": True,
    }


def client_app(url: str, result_url: str, queue: str) -> RedisCelery:
    """The application of a client; it decodes results, and never connects.

    Args:
        url: URL of the broker, checked by `clip_worker.redis.url`.
        result_url: URL of the result backend.
        queue: Name of the queue.
    """
    app = RedisCelery("clip-worker-client", set_as_current=False)
    app.conf.update(redis_configuration(url, result_url), task_default_queue=queue)
    return app


def _for_celery(url: str) -> tuple[str, dict[str, Any], dict[str, Any] | None]:
    """URL, transport options and TLS options."""
    if not url.startswith(SENTINEL_SCHEME):
        address, tls = split_tls(url)
        return address, {}, tls or None
    parsed = SentinelUrl.parse(url)
    return parsed.celery_url, parsed.transport_options, None
