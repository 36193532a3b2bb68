"""kombu's Redis transports with the connections of `clip_worker.redis.connections`.

Remote control, events and Celery's own consumer use kombu. Unchanged, kombu keeps using a demoted
master, since its scripts run inside MULTI, where READONLY is only the error of one command. It also
writes when it connects, which fails if Redis's memory is full; but a worker has to connect to such
a Redis, to empty its queue.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from celery.app.amqp import AMQP
from kombu.connection import Connection
from kombu.transport import redis
from redis.exceptions import ResponseError

from clip_worker.redis.connections import (
    MasterOnlyConnection,
    MasterOnlyManagedConnection,
    MasterOnlySSLConnection,
)
from clip_worker.redis.errors import Fault, fault_of

logger = logging.getLogger(__name__)


class _LenientQoS(redis.QoS):
    def restore_visible(self, *args: Any, **kwargs: Any) -> None:
        with _unless_memory_is_full("kombu's unacknowledged messages are not restored"):
            super().restore_visible(*args, **kwargs)  # type: ignore[no-untyped-call]  # kombu's


class _LenientChannel(redis.Channel):
    QoS = _LenientQoS

    def _queue_bind(self, exchange: str, routing_key: str, pattern: str, queue: str) -> None:
        # Consuming needs no binding, and producers create it again.
        with _unless_memory_is_full(f"the queue {queue} is not bound to the exchange {exchange}"):
            super()._queue_bind(exchange, routing_key, pattern, queue)  # type: ignore[no-untyped-call]  # kombu's

    def maybe_refresh_binding_expiry(self) -> None:
        try:
            super().maybe_refresh_binding_expiry()  # type: ignore[no-untyped-call]  # likewise
        except ResponseError as error:  # kombu would log it with a traceback, twice a second
            if fault_of(error) is not Fault.MEMORY:
                raise

    def _size(self, queue: str) -> int:
        # kombu uses MULTI, inside which a Redis whose memory is full rejects even reads.
        with self.conn_or_acquire() as client, client.pipeline(transaction=False) as pipe:
            for step in self.priority_steps:
                pipe.llen(self._q_for_pri(queue, step))  # type: ignore[no-untyped-call]  # likewise
            return sum(pipe.execute())

    def _delete(self, queue: str, *args: Any, **kwargs: Any) -> None:
        with _unless_memory_is_full(f"the queue {queue} is not deleted"):
            super()._delete(queue, *args, **kwargs)  # type: ignore[no-untyped-call]  # kombu's


class MasterOnlyChannel(_LenientChannel):
    """A channel over TCP or TLS."""

    connection_class = MasterOnlyConnection
    connection_class_ssl = MasterOnlySSLConnection


class MasterOnlySentinelChannel(_LenientChannel, redis.SentinelChannel):
    """A channel to the master that the sentinels name."""

    connection_class = MasterOnlyManagedConnection


class MasterOnlyTransport(redis.Transport):
    """The transport for `redis` and `rediss`."""

    Channel = MasterOnlyChannel


class MasterOnlySentinelTransport(redis.SentinelTransport):
    """The transport for `sentinel`."""

    Channel = MasterOnlySentinelChannel


class BrokerConnection(Connection):
    """kombu's connection, with the transports above."""

    def get_transport_cls(self) -> Any:
        """The transport's class; URLs, banners and logs show the scheme's name as before."""
        if self.transport_cls in ("redis", "rediss"):
            return MasterOnlyTransport
        if self.transport_cls == "sentinel":
            return MasterOnlySentinelTransport
        return super().get_transport_cls()  # type: ignore[no-untyped-call]  # kombu's


class BrokerAMQP(AMQP):  # type: ignore[misc]  # Celery has no type information
    """The broker connections of a Celery application."""

    Connection = BrokerConnection
    BrokerConnection = BrokerConnection


@contextmanager
def _unless_memory_is_full(consequence: str) -> Iterator[None]:
    try:
        yield
    except ResponseError as error:
        if fault_of(error) is not Fault.MEMORY:
            raise
        logger.warning("Redis's memory is full, so %s.", consequence)
