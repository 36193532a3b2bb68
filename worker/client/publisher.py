"""Pushes messages onto a queue in Redis, many a round trip, within a bound on its length."""

from __future__ import annotations

import time
from bisect import bisect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NoReturn, cast

from worker.contract.keys import PRIORITY_STEPS, QueueKeys
from worker.errors import InvalidRequestError, QueueFullError
from worker.quoting import without_password
from worker.redis.commands import RedisCalls
from worker.redis.error_translation import translated

if TYPE_CHECKING:
    from redis import Redis

WhenFull = Literal["error", "wait"]
MOST_MESSAGES = 500  # a round trip; Lua's stack holds some thousands
MOST_BYTES = 4 * 1024 * 1024
FIRST_PAUSE_S = 0.005
LONGEST_PAUSE_S = 0.1

# KEYS: the queue's lists. ARGV: which of them gets the messages, the bound, how many messages must
# fit for any to be taken, messages. -> how many were taken, how many are waiting.
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
class Bound:
    """A bound on the length of a queue.

    Attributes:
        most: Messages that may be waiting; what workers have in hand doesn't count.
        when_full: Whether to fail or to wait.
        wait_limit_s: Longest wait without any progress, in seconds.
    """

    most: int
    when_full: WhenFull = "error"
    wait_limit_s: float = 60.0

    def __post_init__(self) -> None:
        if self.most < 1:
            raise InvalidRequestError(f"max_queue_length is {self.most!r}; give 1 or more.")
        if self.when_full not in ("error", "wait"):
            raise InvalidRequestError(f"when_full is {self.when_full!r}; give 'error' or 'wait'.")


class Publisher:
    """Sends messages to one queue. Threads may share it.

    Args:
        redis: Where the queue is.
        url: Of that Redis, for sentences.
        queue: Its name.
        bound: On its length; None for none.
        clock: Seconds, monotonic.
        sleep: Waits for so many seconds.
    """

    def __init__(  # noqa: PLR0913  # the last two are for tests
        self,
        redis: Redis,
        url: str,
        queue: str,
        bound: Bound | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._calls = RedisCalls(redis)
        self._url = url
        self._queue = queue
        self._lists = QueueKeys(queue).lists
        self._bound = bound
        self._clock = clock
        self._sleep = sleep
        self._script = redis.register_script(_PUSH)

    def send(self, messages: Iterable[str], count: int, priority: int = 0) -> Iterator[int]:
        """Send messages in their order; nothing is sent until the iterator is advanced.

        Where Redis loses the connection before it answers, what was just sent is sent again: it may
        run twice, under one id.

        Args:
            messages: Any number of them.
            count: Their number.
            priority: Of all of them, 0 to 9, 0 the most urgent.

        Yields:
            How many were sent at a time.

        Raises:
            QueueFullError: Where the bound is to fail, all of them don't fit, and none was sent;
                where it is to wait, there was no room for as long as it allows.
            QueueUnavailableError: Redis can't be reached, or refuses.
        """
        place = bisect(PRIORITY_STEPS, priority) - 1
        whole = self._bound is not None and self._bound.when_full == "error"
        admitted = self._bound is None
        for chunk in _chunks(messages):
            if admitted:
                self._push(place, chunk)
                yield len(chunk)
            else:
                yield from self._push_within_bound(place, chunk, count if whole else 1)
                admitted = whole

    def _push(self, place: int, chunk: list[str]) -> None:
        with translated(self._url):
            self._calls("LPUSH", self._lists[place], *chunk)

    def _push_within_bound(self, place: int, chunk: list[str], needed: int) -> Iterator[int]:
        bound = cast("Bound", self._bound)
        progress, pause_s = self._clock(), FIRST_PAUSE_S
        while chunk:
            with translated(self._url):
                sent, waiting = self._calls.run(
                    self._script, self._lists, [place + 1, bound.most, needed, *chunk]
                )
            if sent:
                yield sent
                chunk = chunk[sent:]
                progress, pause_s = self._clock(), FIRST_PAUSE_S
            elif bound.when_full == "error":
                self._refuse(f"{needed} more don't fit", waiting)
            elif self._clock() - progress >= bound.wait_limit_s:
                self._refuse(f"none was taken for {bound.wait_limit_s:g} s", waiting)
            else:
                self._sleep(pause_s)
                pause_s = min(LONGEST_PAUSE_S, 2 * pause_s)

    def _refuse(self, why: str, waiting: int) -> NoReturn:
        most = cast("Bound", self._bound).most
        raise QueueFullError(
            f"In the queue {self._queue!r} at {without_password(self._url)} {waiting} messages are "
            f"waiting, of at most {most} (max_queue_length), and {why}; send later, or see whether "
            "workers keep up (`clip-worker start`)."
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
