"""Plans how messages are pushed onto a queue: many per round trip, up to a maximum queue length.

Nothing here does I/O: `Publisher` carries the plan out for threads, `AsyncPublisher` for
coroutines.
"""

from __future__ import annotations

import time
from bisect import bisect
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal, NamedTuple, NoReturn, Self, TypeAlias

from clip_worker.contract.keys import PRIORITY_STEPS, QueueKeys
from clip_worker.errors import InvalidRequestError, QueueFullError
from clip_worker.quoting import without_password

WhenFull = Literal["error", "wait"]
MOST_MESSAGES = 500  # per round trip; Lua's stack holds a few thousand
MOST_BYTES = 4 * 1024 * 1024
FIRST_PAUSE_S = 0.005
LONGEST_PAUSE_S = 0.1


class Message(NamedTuple):
    """A message to send.

    Attributes:
        text: The message.
        marker: Key that notes that it was sent, so that it is sent once; empty for none.
        uploads: As JSON, for each upload that its task uses its key, the task's id and the claim;
            empty for none.
    """

    text: str
    marker: str = ""
    uploads: str = ""


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


class Push(NamedTuple):
    """One round trip: a pause, then a command that pushes messages.

    Attributes:
        pause_s: Seconds to wait before it.
        messages: The messages.
        list: List that they are pushed to, with `LPUSH`; empty to run `PUSH_SCRIPT` instead.
        keys: The script's keys.
        args: Its arguments.
    """

    pause_s: float
    messages: Sequence[Message]
    list: str = ""
    keys: Sequence[str] = ()
    args: Sequence[Any] = ()

    @property
    def command(self) -> tuple[str, ...]:
        """The `LPUSH` command; empty to run the script."""
        texts = (message.text for message in self.messages)
        return ("LPUSH", self.list, *texts) if self.list else ()


class Pushed(NamedTuple):
    """What Redis replied.

    Attributes:
        sent: Messages that were pushed, or had been sent before.
        waiting: Messages that are waiting in the queue; 0 if it was not asked.
    """

    sent: int
    waiting: int = 0


class _Place(NamedTuple):
    """The list that messages are pushed to.

    Attributes:
        priority: Index of the list among `QueueKeys.lists`.
        tenant: Name of the tenant, whose list it is; empty for none.
    """

    priority: int
    tenant: str


Pushes: TypeAlias = Generator[Push, Pushed, None]


class PushPlan:
    """Decides what is pushed next, and when. Thread-safe.

    Args:
        url: URL of the Redis that the queue is in, for error messages.
        queue: Name of the queue.
        limit: Maximum length of the queue; None for no limit.
        once_s: How long a message with a marker is not sent again, in seconds.
        most: Maximum number of messages per round trip.
        clock: Monotonic seconds.
    """

    def __init__(  # noqa: PLR0913  # the last is for tests
        self,
        url: str,
        queue: str,
        limit: QueueLimit | None = None,
        *,
        once_s: float = 86_400.0,
        most: int = MOST_MESSAGES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.url = url
        self._queue = queue
        self._keys = QueueKeys(queue)
        self._limit = limit
        self._once_s = max(1, round(once_s))
        self._most = most
        self._clock = clock

    def pushes(
        self,
        messages: Iterable[Message],
        count: int,
        priority: int = 0,
        tenant: str | None = None,
    ) -> Pushes:
        """Yield one push after the other; each has to be carried out, and its result sent back.

        If the connection is lost before Redis replies, a push is sent again: tasks without a
        marker may run twice then, under the same ids.

        Args:
            messages: The messages, in order.
            count: How many there are.
            priority: Priority of all of them: 0 to 9, 0 the most urgent.
            tenant: Tenant of all of them; None for none.

        Raises:
            QueueFullError: With `when_full="error"`: not all of them fit, and none was sent. With
                `"wait"`: there was no room for `wait_limit_s`.
        """
        place = _Place(bisect(PRIORITY_STEPS, priority) - 1, tenant or "")
        all_or_none = self._limit is not None and self._limit.when_full == "error"
        limit = self._limit
        for chunk in _chunks(messages, self._most):
            if limit is None:
                is_plain = not (tenant or any(each.marker or each.uploads for each in chunk))
                pushed = None if is_plain else self._script(place, chunk, "", 0)
                yield pushed or Push(0.0, chunk, self._keys.lists[place.priority])
            else:
                yield from self._within(limit, place, chunk, count if all_or_none else 1)
                limit = None if all_or_none else limit

    def _script(
        self, place: _Place, chunk: Sequence[Message], most: int | str, needed: int
    ) -> Push:
        markers = [message.marker for message in chunk]
        keys = [*self._keys.lists, *(markers if any(markers) else ())]
        args = [
            place.priority + 1,
            most,
            needed,
            self._once_s,
            place.tenant,
            self._keys.tenant_base,
        ]
        args += chain.from_iterable((message.text, message.uploads) for message in chunk)
        return Push(0.0, chunk, keys=keys, args=args)

    def _within(
        self, limit: QueueLimit, place: _Place, chunk: list[Message], needed: int
    ) -> Pushes:
        progress, pause_s, next_s = self._clock(), 0.0, FIRST_PAUSE_S
        while chunk:
            push = self._script(place, chunk, limit.most, needed)
            sent, waiting = yield push._replace(pause_s=pause_s)
            if sent:
                chunk = chunk[sent:]
                progress, pause_s, next_s = self._clock(), 0.0, FIRST_PAUSE_S
            elif limit.when_full == "error":
                self._refuse(limit, f"{needed} more don't fit", waiting)
            elif self._clock() - progress >= limit.wait_limit_s:
                self._refuse(limit, f"workers took none for {limit.wait_limit_s:g} s", waiting)
            else:
                pause_s, next_s = next_s, min(LONGEST_PAUSE_S, 2 * next_s)

    def _refuse(self, limit: QueueLimit, why: str, waiting: int) -> NoReturn:
        raise QueueFullError(
            f"The queue {self._queue!r} at {without_password(self.url)} is full: {waiting} "
            f"messages are waiting, of at most {limit.most} (max_queue_length), and {why}; try "
            "again later, or start more workers (`clip-worker start`)."
        )


def _chunks(messages: Iterable[Message], most: int) -> Iterator[list[Message]]:
    chunk: list[Message] = []
    size = 0
    for message in messages:
        length = len(message.text) + len(message.uploads)
        if chunk and (len(chunk) == most or size + length > MOST_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(message)
        size += length
    if chunk:
        yield chunk


def next_push(pushes: Pushes, pushed: Pushed | None = None) -> Push | None:
    """The next push of a plan; None at its end.

    Args:
        pushes: What `PushPlan.pushes` returned.
        pushed: The result of the previous push; None before the first one.

    Raises:
        QueueFullError: See `PushPlan.pushes`.
    """
    try:
        return next(pushes) if pushed is None else pushes.send(pushed)
    except StopIteration:
        return None
