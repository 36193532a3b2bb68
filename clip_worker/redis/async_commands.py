"""Sends single commands to Redis from coroutines."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from redis.exceptions import NoScriptError, ResponseError

if TYPE_CHECKING:
    from clip_worker.redis.async_connections import AsyncMasterOnlyConnection, AsyncPool


class AsyncCommands:
    """Sends commands over the connections of a pool.

    Args:
        pool: The connections.
    """

    def __init__(self, pool: AsyncPool) -> None:
        self._pool = pool

    async def __call__(self, *command: Any) -> Any:
        """Send a command and return Redis's raw reply: bytes and integers.

        It is sent again if the connection is lost before the reply, and may run twice. If the
        caller is cancelled, it may run or not.

        Raises:
            RedisError: As redis-py raises it.
        """
        connection = await self._pool.acquire()
        try:
            return await connection.retry.call_with_retry(
                lambda: _call(connection, command), lambda _: connection.disconnect(nowait=True)
            )
        except ResponseError:  # a complete reply
            raise
        except BaseException:  # half a reply may have been read
            await connection.disconnect(nowait=True)
            raise
        finally:
            await self._pool.release(connection)

    async def run(self, script: str, keys: Sequence[Any], args: Sequence[Any]) -> Any:
        """Run a Lua script, loading it if necessary, and return its result.

        Raises:
            RedisError: As above.
        """
        digest = hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()
        try:
            return await self("EVALSHA", digest, len(keys), *keys, *args)
        except NoScriptError:
            return await self("EVAL", script, len(keys), *keys, *args)


async def _call(connection: AsyncMasterOnlyConnection, command: Sequence[Any]) -> Any:
    await connection.connect()  # type: ignore[no-untyped-call]  # redis-py's
    await connection.send_command(*command)
    return await connection.read_response()
