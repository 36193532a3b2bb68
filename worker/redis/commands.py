"""Sends single commands with less overhead than redis-py's client.

For each command a client takes a connection from its pool, measures, wraps the call for retries,
and returns the connection. That costs 30 to 45 µs beside the call itself, after a pause 150 to 200
(`benchmarks/redis_calls.py`), and a task on an idle worker pays it five times. Here a connection is
kept ready, and the client is the fallback.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from redis.exceptions import ConnectionError as LostConnectionError
from redis.exceptions import NoScriptError, ResponseError

if TYPE_CHECKING:
    from redis import Redis
    from redis.commands.core import Script

MOST_IDLE = 4  # connections that are kept at hand; the rest is there for all users of the client


class RedisCalls:
    """Sends commands of a client. Threads may share it, and forked processes too.

    Args:
        redis: Has the connections, and tries again.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._pool: Any = redis.connection_pool  # Any: redis-py's types are half there
        self._idle: deque[Any] = deque()
        self._process = os.getpid()

    def __call__(self, *command: Any) -> Any:
        """Redis's answer as it comes, bytes and integers.

        Like redis-py, it sends a command again whose reply was lost with the connection. It is not
        for commands of whose answers redis-py makes something else, such as `SET`.

        Raises:
            RedisError: What the client raises.
        """
        client: Any = self._redis
        return self._call(command, lambda: client.execute_command(*command))

    def run(self, script: Script, keys: Sequence[Any], args: Sequence[Any]) -> Any:
        """What a Lua script gives, which is loaded if need be.

        Raises:
            RedisError: As above.
        """
        command = ("EVALSHA", script.sha, len(keys), *keys, *args)
        try:
            return self._call(command, lambda: script(keys=keys, args=args))
        except NoScriptError:
            return script(keys=keys, args=args)

    def _call(self, command: Sequence[Any], otherwise: Callable[[], Any]) -> Any:
        """The answer to a command; where the connection is lost, what `otherwise` gives."""
        connection = self._at_hand() or self._pool.get_connection()
        try:
            connection.send_packed_command(connection.pack_command(*command))
            answer = connection.read_response()
        except ResponseError:  # an answer like any other
            self._keep(connection)
            raise
        except LostConnectionError:
            self._drop(connection)
            return otherwise()
        except BaseException:  # half an answer may have been read
            self._drop(connection)
            raise
        self._keep(connection)
        return answer

    def _at_hand(self) -> Any:
        """A connection that is still usable: Redis may have closed it meanwhile."""
        if self._process != os.getpid():  # forked: these are the parent's
            self._idle, self._process = deque(), os.getpid()
        try:
            connection = self._idle.pop()
        except IndexError:  # none, or another thread was faster
            return None
        if is_as_it_was_left(connection):
            return connection
        self._drop(connection)
        return None

    def _keep(self, connection: Any) -> None:
        if len(self._idle) < MOST_IDLE:
            self._idle.append(connection)
        else:
            self._pool.release(connection)

    def _drop(self, connection: Any) -> None:
        connection.disconnect()
        self._pool.release(connection)


def is_as_it_was_left(connection: Any) -> bool:
    """Whether an idle connection is still usable: nothing has arrived on it, not even its end."""
    try:
        return not connection.can_read()
    except LostConnectionError:
        return False
