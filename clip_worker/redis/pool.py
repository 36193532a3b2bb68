"""Connection pools that wait for a free connection, where redis-py's pools raise an error.

So any number of threads may share a client, although its number of connections is limited.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from redis import VERSION
from redis.connection import ConnectionPool
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.sentinel import SentinelConnectionPool

if TYPE_CHECKING:
    from redis.connection import Connection

MOST_CONNECTIONS = 64
WAIT_S = 30.0  # longer than a command takes to fail, including retries
# redis-py before 5.3 requires the command's name, and ignores it; later versions warn about it.
_COMMAND_NAME = ("",) if VERSION < (5, 3) else ()


class PoolBusyError(RedisConnectionError):
    """All connections stayed in use; Redis itself may be available.

    Args:
        reason: What happened.
        remedy: What to do about it.
    """

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(reason)
        self.remedy = remedy


class WaitingPool(ConnectionPool):
    """redis-py's pool, but a thread waits until a connection is free.

    Attributes:
        wait_s: Longest wait for a connection, in seconds.
    """

    wait_s = WAIT_S

    def reset(self) -> None:
        """Start with no connections, also in a forked process."""
        self._returned = threading.Condition()
        self._returns = 0
        super().reset()

    def get_connection(self, command_name: Any = None, *keys: Any, **options: Any) -> Connection:  # noqa: ARG002  # redis-py's own signature
        """Take a connection; the caller releases it.

        Raises:
            PoolBusyError: All connections stayed in use for `wait_s`.
            RedisError: Redis can't be reached.
        """
        end = time.monotonic() + self.wait_s
        while True:
            self._checkpid()
            seen = self._returns
            try:
                return super().get_connection(*_COMMAND_NAME)
            except RedisConnectionError as error:
                if not _is_exhausted(error):
                    raise
                if not self._wait_for_return(seen, end - time.monotonic()):
                    raise PoolBusyError(
                        f"all {self.max_connections} connections stayed in use for "
                        f"{self.wait_s:g} s",
                        "Use fewer threads, or more clients",
                    ) from error

    def release(self, connection: Any) -> None:
        """Return a connection to the pool."""
        super().release(connection)
        with self._returned:
            self._returns += 1
            self._returned.notify()

    def _wait_for_return(self, seen: int, left_s: float) -> bool:
        with self._returned:
            return self._returned.wait_for(lambda: self._returns != seen, max(0.0, left_s))


class WaitingSentinelPool(WaitingPool, SentinelConnectionPool):
    """The same for connections to the master that the sentinels name."""


def _is_exhausted(error: RedisConnectionError) -> bool:
    # redis-py has an exception class for this, but not all versions of its pools raise it.
    return str(error) == "Too many connections"
