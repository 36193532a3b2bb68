"""Pushes messages onto a queue in Redis, many per round trip, up to a maximum queue length."""

from __future__ import annotations

import time
from bisect import bisect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, NoReturn, Self

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

# Push messages in order, up to the queue's limit, and none whose id was sent before.
# KEYS: the queue's four lists; then for each message its marker ('' for none), or nothing at all.
# ARGV: index of the list to push to; maximum queue length ('' for none); how many messages must fit
# for any to be pushed, those sent before not counted; seconds that markers are kept; messages.
# -> how many were pushed or had been sent before, how many are waiting
_PUSH = """
local room, waiting = math.huge, 0
if ARGV[2] ~= '' then
  for i = 1, 4 do waiting = waiting + redis.call('LLEN', KEYS[i]) end
  room = tonumber(ARGV[2]) - waiting
end
local function was_sent(i)
  local marker = KEYS[4 + i] or ''
  return marker ~= '' and redis.call('EXISTS', marker) == 1
end
local needed = tonumber(ARGV[3])
for i = 1, #ARGV - 4 do
  if was_sent(i) then needed = needed - 1 end
end
if room < needed then return {0, waiting} end
local done, fresh = 0, {}
for i = 1, #ARGV - 4 do
  if not was_sent(i) then
    if #fresh >= room then break end
    fresh[#fresh + 1] = ARGV[4 + i]
    local marker = KEYS[4 + i] or ''
    if marker ~= '' then redis.call('SET', marker, 1, 'EX', ARGV[4]) end
  end
  done = i
end
if #fresh > 0 then redis.call('LPUSH', KEYS[tonumber(ARGV[1])], unpack(fresh)) end
return {done, waiting + #fresh}
"""


class Message(NamedTuple):
    """A message to send.

    Attributes:
        text: The message.
        marker: Key that notes that it was sent, so that it is sent once; empty for none.
    """

    text: str
    marker: str = ""


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

    @classmethod
    def of(cls, most: int | None, when_full: WhenFull, wait_limit_s: float) -> Self | None:
        """The limit of a client; None if it has none."""
        return None if most is None else cls(most, when_full, wait_limit_s)

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
        once_s: How long a message with a marker is not sent again, in seconds.
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
        once_s: float = 86_400.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._commands = Commands(redis)
        self._url = url
        self._queue = queue
        self._lists = QueueKeys(queue).lists
        self._limit = limit
        self._once_s = max(1, round(once_s))
        self._clock = clock
        self._sleep = sleep
        self._script = redis.register_script(_PUSH)

    def send(self, messages: Iterable[Message], count: int, priority: int = 0) -> Iterator[int]:
        """Send messages in order; nothing is sent until the iterator is advanced.

        If the connection is lost before Redis replies, the chunk is sent again: tasks without a
        marker may run twice then, under the same ids.

        Args:
            messages: The messages.
            count: How many there are.
            priority: Priority of all of them: 0 to 9, 0 the most urgent.

        Yields:
            The number of messages sent with each round trip, those sent before included.

        Raises:
            QueueFullError: With `when_full="error"`: not all of them fit, and none was sent. With
                `"wait"`: there was no room for `wait_limit_s`.
            QueueUnavailableError: Redis can't be reached, or rejects the messages.
        """
        index = bisect(PRIORITY_STEPS, priority) - 1
        all_or_none = self._limit is not None and self._limit.when_full == "error"
        limit = self._limit
        for chunk in _chunks(messages):
            if limit is None:
                self._push(index, chunk)
                yield len(chunk)
            else:
                yield from self._push_within(limit, index, chunk, count if all_or_none else 1)
                limit = None if all_or_none else limit

    def _push(self, index: int, chunk: list[Message]) -> None:
        if any(message.marker for message in chunk):
            self._run(index, chunk, "", 0)
        else:
            with translated(self._url):
                self._commands("LPUSH", self._lists[index], *(message.text for message in chunk))

    def _run(
        self, index: int, chunk: list[Message], most: int | str, needed: int
    ) -> tuple[int, int]:
        markers = [message.marker for message in chunk]
        keys = [*self._lists, *(markers if any(markers) else ())]
        args = [index + 1, most, needed, self._once_s, *(message.text for message in chunk)]
        with translated(self._url):
            done, waiting = self._commands.run(self._script, keys, args)
        return done, waiting

    def _push_within(
        self, limit: QueueLimit, index: int, chunk: list[Message], needed: int
    ) -> Iterator[int]:
        progress, pause_s = self._clock(), FIRST_PAUSE_S
        while chunk:
            sent, waiting = self._run(index, chunk, limit.most, needed)
            if sent:
                yield sent
                chunk = chunk[sent:]
                progress, pause_s = self._clock(), FIRST_PAUSE_S
            elif limit.when_full == "error":
                self._refuse(limit, f"{needed} more don't fit", waiting)
            elif self._clock() - progress >= limit.wait_limit_s:
                self._refuse(limit, f"workers took none for {limit.wait_limit_s:g} s", waiting)
            else:
                self._sleep(pause_s)
                pause_s = min(LONGEST_PAUSE_S, 2 * pause_s)

    def _refuse(self, limit: QueueLimit, why: str, waiting: int) -> NoReturn:
        raise QueueFullError(
            f"The queue {self._queue!r} at {without_password(self._url)} is full: {waiting} "
            f"messages are waiting, of at most {limit.most} (max_queue_length), and {why}; try "
            "again later, or start more workers (`clip-worker start`)."
        )


def _chunks(messages: Iterable[Message]) -> Iterator[list[Message]]:
    chunk: list[Message] = []
    size = 0
    for message in messages:
        length = len(message.text)
        if chunk and (len(chunk) == MOST_MESSAGES or size + length > MOST_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(message)
        size += length
    if chunk:
        yield chunk
