"""Connections to Redis that are closed when the server becomes a replica.

After a failover behind one name (a service, a proxy, a DNS entry) the old master may still answer,
but reject writes. This is treated as a lost connection, so that the next connection resolves the
name, or asks the sentinels, again.
"""

from __future__ import annotations

from typing import Any

from redis.connection import AbstractConnection, Connection, SSLConnection
from redis.exceptions import ConnectionError as LostConnectionError
from redis.exceptions import ResponseError
from redis.sentinel import SentinelManagedConnection

from clip_worker.redis.errors import Fault, fault_of


class DemotedError(LostConnectionError):
    """The server is a replica; the connection was closed."""


def demotion(error: Exception) -> DemotedError | None:
    """What to raise instead of an error with which a replica replies; None for other errors."""
    if isinstance(error, DemotedError) or fault_of(error) is not Fault.REPLICA:
        return None
    return DemotedError(f"READONLY {error}")


class _MasterOnly(AbstractConnection):
    # The arguments depend on the version of redis-py.
    def read_response(self, *args: Any, **kwargs: Any) -> Any:
        try:
            response = super().read_response(*args, **kwargs)
        except (ResponseError, LostConnectionError) as error:
            self._close_if_replica(error)
            raise
        if isinstance(response, list):  # EXEC returns errors of its commands without raising them
            for item in response:
                if isinstance(item, ResponseError):
                    self._close_if_replica(item)
        return response

    def _close_if_replica(self, error: Exception) -> None:
        if demoted := demotion(error):
            self.disconnect()  # type: ignore[no-untyped-call]  # redis-py's
            raise demoted from error


class MasterOnlyConnection(_MasterOnly, Connection):
    """A connection over TCP."""


class MasterOnlySSLConnection(_MasterOnly, SSLConnection):
    """A connection over TLS."""


class MasterOnlyManagedConnection(_MasterOnly, SentinelManagedConnection):
    """A connection over TCP to the master that the sentinels name."""
