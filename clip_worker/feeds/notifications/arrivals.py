"""Images that notifications tell of."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

from clip_worker.errors import InvalidRequestError, TemporaryError
from clip_worker.feeds.background import Background
from clip_worker.feeds.item import Item
from clip_worker.feeds.notifications.parse import parse_notification
from clip_worker.feeds.notifications.receipts import Receipts

if TYPE_CHECKING:
    from clip_worker.feeds.arrivals import Seen
    from clip_worker.feeds.notifications.source import Message, MessageSource

logger = logging.getLogger(__name__)

MOST_MESSAGES = 10_000  # received and not deleted
KEEP_S = 60.0  # after so long messages that are in flight are kept for longer
PAUSE_S = 0.2  # while there are too many messages


class NotificationArrivals:
    """Yields the images of messages, and deletes a message when all of its images are done.

    Args:
        source: Receives the messages.
        clock: Monotonic seconds.
    """

    def __init__(self, source: MessageSource, clock: Callable[[], float] = time.monotonic) -> None:
        self._source = source
        self._clock = clock
        self._background = Background("notifications", self._receive, MOST_MESSAGES)
        self._lock = threading.Lock()
        self._receipts = Receipts()
        self._kept_at = 0.0
        self._items: deque[Item] = deque()
        self._done: list[str] = []  # receipts that could not be deleted yet

    def open(self, seen: Seen) -> None:  # noqa: ARG002  # the caller looks at each image itself
        """Begin to receive; see `Arrivals`."""
        self._source.open()
        self._kept_at = self._clock()
        self._background.start()

    def poll(self, timeout_s: float, most: int) -> Sequence[Item]:
        """Return the images of what was received; see `Arrivals`."""
        if not self._items and (message := self._background.take(timeout_s)):
            self._read(message)
        while len(self._items) < most and (message := self._background.take(0)):
            self._read(message)
        return [self._items.popleft() for _ in range(min(most, len(self._items)))]

    def acknowledge(self, keys: Collection[str]) -> None:
        """Delete the messages that are done with; see `Arrivals`."""
        with self._lock:
            self._done += self._receipts.release(keys)
        if self._done:
            self._try(lambda: self._source.delete(self._done), self._done.clear)

    def close(self) -> None:
        """Stop receiving."""
        self._background.stop()
        self._source.close([*self._receipts])

    def _receive(self) -> Sequence[Message]:
        """On the background's thread."""
        if self._clock() >= self._kept_at + KEEP_S:
            with self._lock:
                kept = [*self._receipts]
            self._source.keep(kept)
            self._kept_at = self._clock()
        if len(self._receipts) >= MOST_MESSAGES:
            self._background.pause(PAUSE_S)
            return ()
        return self._source.receive()

    def _read(self, message: Message) -> None:
        try:
            items = parse_notification(message.body)
        except InvalidRequestError as error:
            logger.warning("%s", error)
            self._try(lambda: self._source.reject(message))
            return
        if not items:
            self._done.append(message.receipt)
            self.acknowledge(())
            return
        with self._lock:
            self._receipts.add(message.receipt, [item.key for item in items])
        self._items += items

    def _try(self, act: Callable[[], None], then: Callable[[], object] = lambda: None) -> None:
        try:
            act()
        except TemporaryError as error:
            logger.warning("%s Notifications will be delivered again.", error)
        else:
            then()
