"""One Redis subscription for all results that the coroutines of an event loop wait for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import islice

from redis.exceptions import RedisError

from clip_worker.contract.keys import RESULT_PREFIX
from clip_worker.redis.async_connections import AsyncMasterOnlyConnection
from clip_worker.redis.pacer import Pacer
from clip_worker.redis.url import SOCKET_TIMEOUT_S

MOST_CHANNELS = 200  # per command
FIRST_RECONNECT_S = 0.25
LAST_RECONNECT_S = 10.0


class SharedSubscription:
    """Subscribes to the channels of tasks, over a connection of its own.

    It only saves time: while the connection is lost, results are read by polling.

    Args:
        connector: Makes a connection.
        receive: Called with a task's id and what was published about it; or with the id and None
            when Redis has confirmed the subscription.
        connected: Called when there is a new connection; the ids of all tasks that are waited for.
    """

    def __init__(
        self,
        connector: Callable[[], AsyncMasterOnlyConnection],
        receive: Callable[[str, bytes | None], None],
        connected: Callable[[], Iterable[str]],
    ) -> None:
        self._connector = connector
        self._receive = receive
        self._connected = connected
        self._connection: AsyncMasterOnlyConnection | None = None
        self._joining: set[str] = set()
        self._leaving: set[str] = set()
        self._confirmed = False
        self._asked_at: float | None = None  # when a command was sent, until something arrives

    @property
    def works(self) -> bool:
        """Whether Redis has confirmed a subscription over the present connection."""
        return self._confirmed

    @property
    def has_changes(self) -> bool:
        """Whether there is something to tell Redis with the next `update`."""
        return bool(self._joining or self._leaving)

    def add(self, task_id: str) -> None:
        """Subscribe to a task's channel with the next `update`."""
        self._leaving.discard(task_id)
        self._joining.add(task_id)

    def drop(self, task_id: str) -> None:
        """Unsubscribe from it with the next `update`."""
        if task_id in self._joining:
            self._joining.remove(task_id)
        else:
            self._leaving.add(task_id)

    async def update(self) -> None:
        """Tell Redis which channels were added and dropped; close a connection that is stuck."""
        connection = self._connection
        if connection is None or not connection.is_connected:
            return
        if self._asked_at and time.monotonic() - self._asked_at > SOCKET_TIMEOUT_S:
            await connection.disconnect(nowait=True)
            return
        joining, self._joining = self._joining, set()
        leaving, self._leaving = self._leaving, set()
        try:
            await self._send(connection, "SUBSCRIBE", joining)
            await self._send(connection, "UNSUBSCRIBE", leaving)
        except RedisError:  # `run` reads the same error
            return

    async def _send(
        self, connection: AsyncMasterOnlyConnection, command: str, task_ids: set[str]
    ) -> None:
        channels = (RESULT_PREFIX + task_id for task_id in task_ids)
        while some := list(islice(channels, MOST_CHANNELS)):
            await connection.send_command(command, *some)
            self._asked_at = self._asked_at or time.monotonic()
            await asyncio.sleep(0)  # there may be thousands

    async def run(self) -> None:
        """Receive messages, and reconnect whenever the connection is lost, until cancelled."""
        pause_s = FIRST_RECONNECT_S
        while True:
            connection = self._connector()
            try:
                await connection.connect()  # type: ignore[no-untyped-call]  # redis-py's
                connection.reply_limit_s = None
                self._begin(connection)
                await self._listen(connection)
            except (RedisError, OSError):
                pass  # results are read by polling meanwhile
            finally:
                pause_s = FIRST_RECONNECT_S if self._confirmed else 2 * pause_s
                self._connection, self._confirmed = None, False
                await _close(connection)
            await asyncio.sleep(min(pause_s, LAST_RECONNECT_S))

    def _begin(self, connection: AsyncMasterOnlyConnection) -> None:
        self._joining, self._leaving = set(self._connected()), set()
        self._asked_at = None
        self._connection = connection

    async def _listen(self, connection: AsyncMasterOnlyConnection) -> None:
        pacer = Pacer()
        while True:
            kind, channel, data = await connection.read_response()
            self._asked_at = None
            task_id = channel.decode()[len(RESULT_PREFIX) :]
            if kind == b"message":
                self._receive(task_id, data)
            elif kind == b"subscribe":
                self._confirmed = True
                self._receive(task_id, None)
            await pacer.step()


async def _close(connection: AsyncMasterOnlyConnection) -> None:
    with suppress(RedisError):  # TLS was not closed in time
        await connection.disconnect()
