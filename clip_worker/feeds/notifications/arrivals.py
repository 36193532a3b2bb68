"""Images that notifications announce."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
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

MOST_IMAGES = 5_000  # of messages that are read and not deleted; the last one may exceed it
KEEP_S = 20.0  # after so long messages that are in flight are kept for longer
PAUSE_S = 0.2  # while there are too many images
_UNBOUNDED = 0  # a full queue would keep the thread from keeping messages


class NotificationArrivals:
    """Yields the images of messages, and deletes a message when all of its images are done.

    Args:
        source: Receives the messages.
        clock: Monotonic seconds.
    """

    def __init__(self, source: MessageSource, clock: Callable[[], float] = time.monotonic) -> None:
        self._source = source
        self._clock = clock
        self._background = Background("notifications", self._receive, _UNBOUNDED)
        self._lock = threading.Lock()
        self._receipts = Receipts()
        self._unread: deque[Message] = deque()  # received; of the background's thread
        self._done: list[str] = []  # receipts of messages that can be deleted
        self._kept_at = 0.0

    def open(self, seen: Seen) -> None:  # noqa: ARG002  # the caller looks at each image itself
        """Begin to receive; see `Arrivals`."""
        self._source.open()
        self._kept_at = self._clock()
        self._background.start()

    def poll(self, timeout_s: float, most: int) -> Sequence[Item]:
        """Return the images of what was received; see `Arrivals`."""
        items: list[Item] = []
        wait_s = timeout_s
        while len(items) < most and (item := self._background.take(wait_s)):
            items.append(item)
            wait_s = 0.0
        self._delete()
        return items

    def acknowledge(self, keys: Collection[str]) -> None:
        """Delete the messages that are done with; see `Arrivals`."""
        with self._lock:
            self._done += self._receipts.release(keys)
        self._delete()

    def close(self) -> None:
        """Stop receiving."""
        self._background.stop()
        self._source.close([*self._receipts, *(message.receipt for message in self._unread)])

    def _delete(self) -> None:
        with self._lock:
            done, self._done = self._done, []
        if done and not self._tried(lambda: self._source.delete(done)):
            with self._lock:
                self._done += done

    def _receive(self) -> Iterator[Item]:
        """On the background's thread."""
        if self._clock() >= self._kept_at + KEEP_S:
            with self._lock:
                kept = [*self._receipts]
            self._source.keep([*kept, *(message.receipt for message in self._unread)])
            self._kept_at = self._clock()
        if self._receipts.images >= MOST_IMAGES:
            self._background.pause(PAUSE_S)
            return
        if not self._unread:
            self._unread.extend(self._source.receive())
        if self._unread:
            yield from self._read(self._unread.popleft())

    def _read(self, message: Message) -> Sequence[Item]:
        try:
            items = parse_notification(message.body)
        except InvalidRequestError as error:
            logger.warning("%s", error)
            self._tried(lambda: self._source.reject(message))
            return ()
        with self._lock:
            if items:
                self._receipts.add(message.receipt, [item.key for item in items])
            else:
                self._done.append(message.receipt)
        return items

    def _tried(self, act: Callable[[], None]) -> bool:
        """Do something; while the source can't be reached, it is done again later."""
        try:
            act()
        except TemporaryError as error:
            logger.warning("%s Its notifications may come again.", error)
            return False
        return True
