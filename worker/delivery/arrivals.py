"""Waiting for a message in any of several lists, without taking it out of Redis.

Redis has one command that waits for a list and moves what comes, `BLMOVE`, and it takes one list;
those that take several (before Redis 7) hand the message to the client, and it is lost where that
dies. So each list is waited for on a connection of its own, all of them at once. The message goes
to a second list, from where `take.lua` gets it, this worker's or any other's. Because it moves, it
ends the wait of one idle worker, not of all of them.
"""

from __future__ import annotations

import selectors
import time
from typing import TYPE_CHECKING, Any

from redis.exceptions import ResponseError

from clip_worker.redis.commands import is_reusable
from clip_worker.redis.url import SOCKET_TIMEOUT_S

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from redis import Redis

BLOCK_S = 300.0  # then Redis ends the wait, so that a host that vanished leaves none


class ListWait:
    """The wait for one list. For one thread.

    Args:
        redis: Client whose pool gives the connection.
        source: The list.
        target: Where the message goes that ends the wait.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        redis: Redis,
        source: str,
        target: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pool: Any = redis.connection_pool  # Any: redis-py's types are half there
        self._move = ("BLMOVE", source, target, "RIGHT", "LEFT", BLOCK_S)
        self._clock = clock
        self._connection: Any = None
        self._overdue: float | None = None  # when no reply will come any more; None: not waiting

    def fileno(self) -> int:
        """The socket of a wait that has begun, for `selectors`."""
        # redis-py has no public way to wait for several connections; kombu does the same.
        return int(self._connection._sock.fileno())  # noqa: SLF001

    def begin(self) -> None:
        """Wait from now on, unless it does already.

        Raises:
            RedisError: Redis can't be reached.
        """
        if self._overdue is not None and self._clock() < self._overdue:
            return
        # Redis or the network may have dropped it, in the wait or since.
        if self._overdue is not None or not (self._connection and is_reusable(self._connection)):
            self.hang_up()
            self._connection = self._pool.get_connection()
        self._connection.send_packed_command(self._connection.pack_command(*self._move))
        self._overdue = self._clock() + BLOCK_S + SOCKET_TIMEOUT_S

    def end(self) -> None:
        """Read the reply of a wait that has ended.

        Raises:
            RedisError: Redis refused to wait, or the connection was lost.
        """
        if self._connection.can_read():  # else it was TLS that had something to read
            self._overdue = None
            self._connection.read_response()

    def hang_up(self) -> None:
        """Wait no more."""
        connection, self._connection, self._overdue = self._connection, None, None
        if connection is not None:
            connection.disconnect()
            self._pool.release(connection)


def wait_for_any(waits: Sequence[ListWait], timeout_s: float) -> bool:
    """Wait until a message has come into one of the lists, or for about so long.

    Returns:
        Whether a wait has ended, most likely with a message.

    Raises:
        RedisError: As `ListWait` does. After a `ResponseError` the waits can be used again.
    """
    with selectors.DefaultSelector() as selector:
        for wait in waits:
            wait.begin()
            selector.register(wait, selectors.EVENT_READ, wait)
        refused = None
        ended = selector.select(timeout_s)
        for key, _ in ended:
            try:
                key.data.end()
            except ResponseError as error:
                refused = error
        if refused:
            raise refused
        return bool(ended)
