"""Connections to Redis for asyncio, and a pool of them in which calls wait their turn.

Like the connections of threads (`clip_worker.redis.connections`) they are closed when the server
becomes a replica, and the next one resolves the name, or asks the sentinels, again.

The limits of time are asyncio's own. In Python 3.11 redis-py's may swallow the cancellation of a
task, because they use `asyncio.wait_for` (https://github.com/python/cpython/issues/81839).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from redis.asyncio.connection import Connection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.exceptions import ConnectionError as LostConnectionError
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from clip_worker.redis.connections import demotion
from clip_worker.redis.one_loop import OneLoop
from clip_worker.redis.pacer import Turns
from clip_worker.redis.pool import WAIT_S, PoolBusyError
from clip_worker.redis.sentinel_url import SCHEME as SENTINEL_SCHEME
from clip_worker.redis.sentinel_url import SentinelUrl
from clip_worker.redis.tls import TlsContext
from clip_worker.redis.url import RETRIES, SOCKET_LIMITS, pauses, server_options


class AsyncMasterOnlyConnection(Connection):
    """A connection over TCP.

    Attributes:
        reply_limit_s: Longest wait for a reply, in seconds; None for no limit.
    """

    def __init__(self, *, socket_timeout: float | None, **options: Any) -> None:
        super().__init__(socket_timeout=None, **options)
        self.reply_limit_s = socket_timeout

    async def send_packed_command(self, *args: Any, **kwargs: Any) -> None:
        """Send a command.

        Raises:
            RedisError: The connection was lost, or Redis does not read.
        """
        try:
            async with asyncio.timeout(self.reply_limit_s):
                await super().send_packed_command(*args, **kwargs)
        except TimeoutError:
            raise RedisTimeoutError(f"Timeout writing to {self._host_error()}") from None

    # The arguments depend on the version of redis-py.
    async def read_response(self, *args: Any, **kwargs: Any) -> Any:
        """Read a reply.

        Raises:
            RedisError: It is an error, does not arrive in time, or the connection was lost.
        """
        try:
            async with asyncio.timeout(self.reply_limit_s):
                return await super().read_response(*args, **kwargs)
        except TimeoutError:
            raise RedisTimeoutError(f"Timeout reading from {self._host_error()}") from None
        except (ResponseError, LostConnectionError) as error:
            if demoted := demotion(error):
                await self.disconnect(nowait=True)
                raise demoted from error
            raise


class AsyncMasterOnlySSLConnection(AsyncMasterOnlyConnection):
    """A connection over TLS.

    Args:
        tls: The settings of TLS, shared by all connections.
        options: As of `AsyncMasterOnlyConnection`.
    """

    def __init__(self, *, tls: TlsContext, **options: Any) -> None:
        super().__init__(**options)
        self._tls = tls

    async def _connect(self) -> None:
        if self._tls.context is None:  # it reads all the certificates of the system
            await asyncio.to_thread(self._tls.load)
        await super()._connect()  # type: ignore[no-untyped-call]  # redis-py's

    def _connection_arguments(self) -> Any:
        return {**super()._connection_arguments(), "ssl": self._tls.context}


class AsyncMasterOnlyManagedConnection(AsyncMasterOnlyConnection):
    """A connection over TCP to the master that the sentinels name.

    Args:
        sentinel: Asks the sentinels.
        master: Name of the master.
        options: As of `AsyncMasterOnlyConnection`.
    """

    def __init__(self, *, sentinel: Sentinel, master: str, **options: Any) -> None:
        super().__init__(**options)
        self._sentinel = sentinel
        self._master = master

    async def _connect(self) -> None:
        self.host, self.port = await self._sentinel.discover_master(self._master)
        await super()._connect()  # type: ignore[no-untyped-call]  # redis-py's


class AsyncConnector:
    """Opens connections to one Redis.

    Args:
        url: See `clip_worker.redis.url.check_redis_url`.
    """

    def __init__(self, url: str) -> None:
        self._sentinel: Sentinel | None = None
        # Replies are read as Redis sends them, so the newer protocol would bring nothing.
        self._options: dict[str, Any] = {"protocol": 2, **_retrying()}
        if url.startswith(SENTINEL_SCHEME):
            self._use_sentinels(SentinelUrl.parse(url))
        else:
            self._use_server(url)

    def _use_server(self, url: str) -> None:
        options, tls = server_options(url)
        self._options = options | self._options
        self._kind: type[AsyncMasterOnlyConnection] = AsyncMasterOnlyConnection
        if tls:
            self._kind = AsyncMasterOnlySSLConnection
            self._options["tls"] = TlsContext(tls)

    def _use_sentinels(self, parsed: SentinelUrl) -> None:
        asked_once = {"retry": Retry(pauses(), 0)}
        self._sentinel = Sentinel(  # type: ignore[no-untyped-call]  # redis-py's
            list(parsed.hosts), sentinel_kwargs=parsed.sentinel_options | asked_once
        )
        self._kind = AsyncMasterOnlyManagedConnection
        self._options |= SOCKET_LIMITS | parsed.credentials
        self._options |= {"sentinel": self._sentinel, "master": parsed.master, "db": parsed.db}

    def __call__(self) -> AsyncMasterOnlyConnection:
        """A connection that is not yet open."""
        return self._kind(**self._options)

    async def aclose(self) -> None:
        """Close the connections to the sentinels."""
        for sentinel in self._sentinel.sentinels if self._sentinel else ():
            await sentinel.aclose()


class AsyncPool:
    """Connections for one event loop; a call waits until one of them is free.

    Args:
        connector: Makes a connection.
        most: Maximum number of connections.
        loop: The event loop in which the pool is used.

    Attributes:
        wait_s: Longest wait for a connection, in seconds.
    """

    wait_s = WAIT_S

    def __init__(
        self, connector: Callable[[], AsyncMasterOnlyConnection], most: int, loop: OneLoop
    ) -> None:
        self._connector = connector
        self._most = most
        self._loop = loop
        self._reset()

    def _reset(self) -> None:
        self._idle: list[AsyncMasterOnlyConnection] = []
        self._used: set[AsyncMasterOnlyConnection] = set()
        self._free = asyncio.Semaphore(self._most)
        self._openings = Turns(1)

    async def acquire(self) -> AsyncMasterOnlyConnection:
        """Take a connection, which may not be open; the caller releases it.

        Raises:
            PoolBusyError: All connections stayed in use for `wait_s`.
            RuntimeError: The pool is used in another event loop.
        """
        self._loop.check()
        try:
            async with asyncio.timeout(self.wait_s if self._free.locked() else None):
                await self._free.acquire()
        except TimeoutError:
            raise PoolBusyError(
                f"all {self._most} connections stayed in use for {self.wait_s:g} s",
                "Make fewer calls at a time, or pass a larger max_connections",
            ) from None
        try:
            connection = self._idle.pop() if self._idle else await self._new()
        except BaseException:  # cancelled
            self._free.release()
            raise
        self._used.add(connection)
        return connection

    async def _new(self) -> AsyncMasterOnlyConnection:
        async with self._openings:  # to open one takes a millisecond or two
            return self._connector()

    async def release(self, connection: AsyncMasterOnlyConnection) -> None:
        """Return a connection to the pool; nothing may be left to read from it."""
        if connection not in self._used:  # the pool was closed meanwhile
            await connection.disconnect(nowait=True)
            return
        self._used.remove(connection)
        self._idle.append(connection)
        self._free.release()

    async def aclose(self) -> None:
        """Close the connections. The pool may be used again, also in another event loop."""
        connections = [*self._idle, *self._used]
        self._reset()
        for connection in connections:
            await connection.disconnect()


def _retrying() -> dict[str, Any]:
    return {
        "retry": Retry(pauses(), RETRIES, supported_errors=(LostConnectionError,)),
        "retry_on_error": [LostConnectionError],
    }
