"""kombu's Redis connections, with `worker.redis_connection`'s below them.

Remote control, events and Celery's own way of consuming stay with kombu, which would go on talking
to a master that was demoted: its scripts run inside MULTI, where it takes READONLY for a command's
own failure.
"""

from __future__ import annotations

from typing import Any

from celery.app.amqp import AMQP
from kombu.connection import Connection
from kombu.transport import redis

from worker.redis_connection import (
    LeavingConnection,
    LeavingManagedConnection,
    LeavingSSLConnection,
)


class LeavingChannel(redis.Channel):
    """Over TCP or TLS."""

    connection_class = LeavingConnection
    connection_class_ssl = LeavingSSLConnection


class LeavingSentinelChannel(redis.SentinelChannel):
    """To the master that sentinels name."""

    connection_class = LeavingManagedConnection


class LeavingTransport(redis.Transport):
    """kombu's `redis` and `rediss`."""

    Channel = LeavingChannel


class LeavingSentinelTransport(redis.SentinelTransport):
    """kombu's `sentinel`."""

    Channel = LeavingSentinelChannel


class BrokerConnection(Connection):
    """kombu's connection, which takes our transports for the schemes that it names."""

    def get_transport_cls(self) -> Any:
        """The transport's class; URLs, banners and logs keep the scheme's name."""
        if self.transport_cls in ("redis", "rediss"):
            return LeavingTransport
        if self.transport_cls == "sentinel":
            return LeavingSentinelTransport
        return super().get_transport_cls()  # type: ignore[no-untyped-call]  # kombu's


class BrokerAMQP(AMQP):  # type: ignore[misc]  # Celery has no type information
    """What a Celery application speaks to its broker through."""

    Connection = BrokerConnection
    BrokerConnection = BrokerConnection
