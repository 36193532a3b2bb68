"""Sends single commands with less overhead than redis-py's client.

For each command redis-py takes a connection from its pool, measures the time, wraps the call for
retries, and returns the connection. That costs 30 to 45 µs on top of the command itself, or 150 to
200 µs after a pause (`benchmarks/redis_commands.py`), and a task on an idle worker pays it five
times. Here connections are kept ready, and redis-py's client is the fallback.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from redis.exceptions import ConnectionError as LostConnectionError
from redis.exceptions import NoScriptError, ResponseError

if TYPE_CHECKING:
    from redis import Redis
    from redis.commands.core import Script

MOST_IDLE = 4  # connections kept here; the rest of the pool is left to the client's other users


class Commands:
    """Sends commands over a client's connections. Safe to share between threads and after a fork.

    Args:
        redis: Provides the connections, and retries after a lost connection.
        answered: Called with the seconds of each round trip.
    """

    def __init__(
        self, redis: Redis, answered: Callable[[float], object] = lambda _seconds: None
    ) -> None:
        self._redis = redis
        self._answered = answered
        self._pool: Any = redis.connection_pool  # Any: redis-py's types are incomplete
        self._idle: deque[Any] = deque()
        self._process = os.getpid()

    def __call__(self, *command: Any) -> Any:
        """Send a command and return Redis's raw reply: bytes and integers.

        Like redis-py, it sends a command again if the connection was lost before the reply. Do not
        use it for commands whose replies redis-py converts, such as `SET`.

        Raises:
            RedisError: As redis-py raises it.
        """
        client: Any = self._redis
        return self._call(command, lambda: client.execute_command(*command))

    def run(self, script: Script, keys: Sequence[Any], args: Sequence[Any]) -> Any:
        """Run a Lua script, loading it if necessary, and return its result.

        Raises:
            RedisError: As above.
        """
        command = ("EVALSHA", script.sha, len(keys), *keys, *args)
        try:
            return self._call(command, lambda: script(keys=keys, args=args))
        except NoScriptError:
            return script(keys=keys, args=args)

    def _call(self, command: Sequence[Any], fallback: Callable[[], Any]) -> Any:
        connection = self._take_idle() or self._pool.get_connection()
        start = time.perf_counter()
        try:
            connection.send_packed_command(connection.pack_command(*command))
            reply = connection.read_response()
        except ResponseError:  # a complete reply
            self._keep(connection)
            raise
        except LostConnectionError:
            self._discard(connection)
            return fallback()
        except BaseException:  # half a reply may have been read
            self._discard(connection)
            raise
        self._answered(time.perf_counter() - start)
        self._keep(connection)
        return reply

    def _take_idle(self) -> Any:
        """An idle connection that Redis has not closed meanwhile, or None."""
        if self._process != os.getpid():  # forked: these connections belong to the parent
            self._idle, self._process = deque(), os.getpid()
        try:
            connection = self._idle.pop()
        except IndexError:  # empty, or another thread was faster
            return None
        if is_reusable(connection):
            return connection
        self._discard(connection)
        return None

    def _keep(self, connection: Any) -> None:
        if len(self._idle) < MOST_IDLE:
            self._idle.append(connection)
        else:
            self._pool.release(connection)

    def _discard(self, connection: Any) -> None:
        connection.disconnect()
        self._pool.release(connection)


def is_reusable(connection: Any) -> bool:
    """Whether an idle connection is usable: nothing has arrived on it, not even its end."""
    try:
        return not connection.can_read()
    except LostConnectionError:
        return False
