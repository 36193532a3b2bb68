"""Pushes messages onto a queue in Redis, many per round trip, up to a maximum queue length."""

from __future__ import annotations

import time
from bisect import bisect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NoReturn, cast

from clip_worker.contract.keys import PRIORITY_STEPS, QueueKeys
from clip_worker.errors import InvalidRequestError, QueueFullError
from clip_worker.quoting import without_password
from clip_worker.redis.commands import Commands
from clip_worker.redis.error_translation import translated

if TYPE_CHECKING:
    from redis import Redis

WhenFull = Literal["error", "wait"]
MOST_MESSAGES = 500  # per round trip; Lua's stack holds a few thousand
MOST_BYTES = 4 * 1024 * 1024
FIRST_PAUSE_S = 0.005
LONGEST_PAUSE_S = 0.1

# KEYS: the queue's lists. ARGV: index of the list to push to, maximum queue length, how many
# messages must fit for any to be pushed, messages. -> how many were pushed, how many are waiting.
_PUSH = """
local waiting = 0
for _, list in ipairs(KEYS) do waiting = waiting + redis.call('LLEN', list) end
local room = tonumber(ARGV[2]) - waiting
if room < tonumber(ARGV[3]) then return {0, waiting} end
local count = math.min(room, #ARGV - 3)
redis.call('LPUSH', KEYS[tonumber(ARGV[1])], unpack(ARGV, 4, 3 + count))
return {count, waiting + count}
"""


@dataclass(frozen=True)
class QueueLimit:
    """A maximum length of a queue.

    Attributes:
        most: Maximum number of waiting messages; messages in flight don't count.
        when_full: Whether to fail or to wait when the queue is full.
        wait_limit_s: Longest wait without any progress, in seconds.
    """

    most: int
    when_full: WhenFull = "error"
    wait_limit_s: float = 60.0

    def __post_init__(self) -> None:
        if self.most < 1:
            raise InvalidRequestError(f"max_queue_length is {self.most!r}; pass 1 or more.")
        if self.when_full not in ("error", "wait"):
            raise InvalidRequestError(f"when_full is {self.when_full!r}; pass 'error' or 'wait'.")


class Publisher:
    """Sends messages to one queue. Thread-safe.

    Args:
        redis: Client of the Redis that the queue is in.
        url: URL of that Redis, for error messages.
        queue: Name of the queue.
        limit: Maximum length of the queue; None for no limit.
        clock: Monotonic seconds.
        sleep: Waits for a number of seconds.
    """

    def __init__(  # noqa: PLR0913  # the last two are for tests
        self,
        redis: Redis,
        url: str,
        queue: str,
        limit: QueueLimit | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._commands = Commands(redis)
        self._url = url
        self._queue = queue
        self._lists = QueueKeys(queue).lists
        self._limit = limit
        self._clock = clock
        self._sleep = sleep
        self._script = redis.register_script(_PUSH)

    def send(self, messages: Iterable[str], count: int, priority: int = 0) -> Iterator[int]:
        """Send messages in order; nothing is sent until the iterator is advanced.

        If the connection is lost before Redis replies, the chunk is sent again: its tasks may run
        twice, under the same ids.

        Args:
            messages: The messages.
            count: How many there are.
            priority: Priority of all of them: 0 to 9, 0 the most urgent.

        Yields:
            The number of messages sent with each round trip.

        Raises:
            QueueFullError: With `when_full="error"`: not all of them fit, and none was sent. With
                `"wait"`: there was no room for `wait_limit_s`.
            QueueUnavailableError: Redis can't be reached, or rejects the messages.
        """
        index = bisect(PRIORITY_STEPS, priority) - 1
        all_or_none = self._limit is not None and self._limit.when_full == "error"
        admitted = self._limit is None
        for chunk in _chunks(messages):
            if admitted:
                self._push(index, chunk)
                yield len(chunk)
            else:
                yield from self._push_within_limit(index, chunk, count if all_or_none else 1)
                admitted = all_or_none

    def _push(self, index: int, chunk: list[str]) -> None:
        with translated(self._url):
            self._commands("LPUSH", self._lists[index], *chunk)

    def _push_within_limit(self, index: int, chunk: list[str], needed: int) -> Iterator[int]:
        limit = cast("QueueLimit", self._limit)
        progress, pause_s = self._clock(), FIRST_PAUSE_S
        while chunk:
            with translated(self._url):
                sent, waiting = self._commands.run(
                    self._script, self._lists, [index + 1, limit.most, needed, *chunk]
                )
            if sent:
                yield sent
                chunk = chunk[sent:]
                progress, pause_s = self._clock(), FIRST_PAUSE_S
            elif limit.when_full == "error":
                self._refuse(f"{needed} more don't fit", waiting)
            elif self._clock() - progress >= limit.wait_limit_s:
                self._refuse(f"workers took none for {limit.wait_limit_s:g} s", waiting)
            else:
                self._sleep(pause_s)
                pause_s = min(LONGEST_PAUSE_S, 2 * pause_s)

    def _refuse(self, why: str, waiting: int) -> NoReturn:
        most = cast("QueueLimit", self._limit).most
        raise QueueFullError(
            f"The queue {self._queue!r} at {without_password(self._url)} is full: {waiting} "
            f"messages are waiting, of at most {most} (max_queue_length), and {why}; try again "
            "later, or start more workers (`clip-worker start`)."
        )


def _chunks(messages: Iterable[str]) -> Iterator[list[str]]:
    chunk: list[str] = []
    size = 0
    for message in messages:
        if chunk and (len(chunk) == MOST_MESSAGES or size + len(message) > MOST_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(message)
        size += len(message)
    if chunk:
        yield chunk
