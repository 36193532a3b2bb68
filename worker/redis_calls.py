"""One command after the other, with less ado than redis-py's client makes of each.

Between `execute_command` and the socket a client takes a connection from its pool, measures, wraps
the call for its retries, and gives the connection back. Warm that is 30 to 45 µs more than the call
itself, after a pause 150 to 200 (`benchmarks/redis_calls.py`), and a task that nothing else waits
with crosses it five times. Here a connection is kept at hand, and the client is what a call falls
back on when that fails.
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
        [answer] = self._call([command], lambda: [client.execute_command(*command)])
        if isinstance(answer, Exception):
            raise answer
        return answer

    def run(self, script: Script, keys: Sequence[Any], args: Sequence[Any]) -> Any:
        """What a Lua script gives, which is loaded if need be.

        Raises:
            RedisError: As above.
        """
        [answer] = self._run([], script, keys, args)
        return answer

    def run_after(
        self, first: Sequence[Any], script: Script, keys: Sequence[Any], args: Sequence[Any]
    ) -> tuple[Any, Any]:
        """What a command gives, or the error that Redis has for it; and then what a script gives.

        Both are sent at once, so between the two there is no way to Redis and back. If the
        connection is lost, the script alone is sent again, and the first gives None.

        Raises:
            RedisError: As above, but not the first one's.
        """
        ended, answer = self._run([first], script, keys, args)
        return ended, answer

    def _run(
        self,
        before: Sequence[Sequence[Any]],
        script: Script,
        keys: Sequence[Any],
        args: Sequence[Any],
    ) -> list[Any]:
        """The answers of commands that may fail, and the script's behind them."""
        nothing = [None] * len(before)
        run = ("EVALSHA", script.sha, len(keys), *keys, *args)
        answers: list[Any] = self._call(
            [*before, run], lambda: [*nothing, script(keys=keys, args=args)]
        )
        if isinstance(answers[-1], NoScriptError):
            return [*nothing, script(keys=keys, args=args)]
        if isinstance(answers[-1], Exception):
            raise answers[-1]
        return answers

    def _call(
        self, commands: Sequence[Sequence[Any]], otherwise: Callable[[], list[Any]]
    ) -> list[Any]:
        """Answers, and errors that are answers, to commands that are sent in one piece."""
        connection = self._at_hand() or self._pool.get_connection()
        try:
            connection.send_packed_command(connection.pack_commands(commands))
            answers = [_answer(connection) for _ in commands]
        except LostConnectionError:
            self._drop(connection)
            return otherwise()
        except BaseException:  # half an answer may have been read
            self._drop(connection)
            raise
        self._idle.append(connection)
        return answers

    def _at_hand(self) -> Any:
        """A connection that is as it was left: Redis may have closed it meanwhile."""
        if self._process != os.getpid():  # forked: these are the parent's
            self._idle, self._process = deque(), os.getpid()
        try:
            connection = self._idle.pop()
        except IndexError:  # none, or another thread was faster
            return None
        try:
            if not connection.can_read():
                return connection
        except LostConnectionError:
            pass
        self._drop(connection)
        return None

    def _drop(self, connection: Any) -> None:
        connection.disconnect()
        self._pool.release(connection)


def _answer(connection: Any) -> Any:
    try:
        return connection.read_response()
    except ResponseError as error:
        return error
