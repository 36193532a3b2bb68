"""Sends commands to Redis from coroutines."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from redis.exceptions import NoScriptError, ResponseError

if TYPE_CHECKING:
    from clip_worker.redis.async_connections import AsyncMasterOnlyConnection, AsyncPool

LARGE_BYTES = 256 * 1024  # a larger argument is sent in pieces of this size


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
        return (await self.pipeline([command]))[0]

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

    async def pipeline(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        """Send some commands in one round trip and return their replies.

        Raises:
            RedisError: As above; the first error of all replies.
        """
        connection = await self._pool.acquire()
        try:
            return await connection.retry.call_with_retry(
                lambda: _call(connection, commands), lambda _: connection.disconnect(nowait=True)
            )
        except ResponseError:  # all replies were read
            raise
        except BaseException:  # half a reply may have been read
            await connection.disconnect(nowait=True)
            raise
        finally:
            await self._pool.release(connection)


async def _call(
    connection: AsyncMasterOnlyConnection, commands: Sequence[Sequence[Any]]
) -> list[Any]:
    await connection.connect()  # type: ignore[no-untyped-call]  # redis-py's
    for command in commands:
        if any(isinstance(part, bytes) and len(part) > LARGE_BYTES for part in command):
            for piece in _pieces(command):
                await connection.send_packed_command([piece])
                await asyncio.sleep(0)
        else:
            await connection.send_command(*command)
    replies = [await _reply(connection) for _ in commands]
    for reply in replies:
        if isinstance(reply, ResponseError):
            raise reply
    return replies


async def _reply(connection: AsyncMasterOnlyConnection) -> Any:
    try:
        return await connection.read_response()
    except ResponseError as error:
        return error


def _pieces(command: Sequence[Any]) -> Iterator[bytes | memoryview]:
    """A command as it is sent, in pieces; redis-py would copy it as a whole, several times."""
    yield b"*%d\r\n" % len(command)
    for part in command:
        data = part if isinstance(part, bytes) else str(part).encode()
        yield b"$%d\r\n" % len(data)
        for start in range(0, len(data), LARGE_BYTES):
            yield memoryview(data)[start : start + LARGE_BYTES]
        yield b"\r\n"
