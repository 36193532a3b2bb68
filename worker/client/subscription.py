"""Waits for a result without polling for it.

Whoever stores a result also publishes it, on a channel with the name of its key. Nothing depends on
that: without a subscription, or if its connection is lost, or if the result was published before it
began, the result is read a little later.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, cast

from redis.exceptions import RedisError

if TYPE_CHECKING:
    from redis import Redis
    from redis.client import PubSub

FIRST_POLL_S = 0.002  # without a subscription
LAST_POLL_S = 0.05
LAST_LOOK_S = 0.5  # with one, in case that it has missed something
CONFIRM_S = 1.0
MOST_IDLE = 16
MOST_SUBSCRIPTIONS = 256  # at a time, each with a connection of its own


class Ears:
    """A pool of subscriptions, each used by one thread at a time. Threads may share it.

    Args:
        redis: That results are stored in.
        most: At a time.
    """

    def __init__(self, redis: Redis, most: int = MOST_SUBSCRIPTIONS) -> None:
        self._redis = redis
        self._most = most
        self._begin()

    def _begin(self) -> None:
        self._idle: deque[PubSub] = deque()
        self._free = threading.Semaphore(self._most)
        self._process = os.getpid()

    def lend(self, channel: str, wait_s: float) -> PubSub | None:
        """A subscription to one channel that Redis has confirmed; give it back or let it close.

        Args:
            channel: Its name.
            wait_s: Longest wait for one where all are lent, in seconds.

        Returns:
            None if all stayed lent.

        Raises:
            RedisError: There is none to be had.
        """
        if self._process != os.getpid():  # forked: these connections are the parent's
            self._begin()
        if not self._free.acquire(timeout=wait_s):
            return None
        try:
            return self._subscribed(channel)
        except BaseException:
            self._free.release()
            raise

    def _subscribed(self, channel: str) -> PubSub:
        ear = self._kept() or self._redis.pubsub()  # type: ignore[no-untyped-call]  # redis-py's
        try:
            if ear.channels:  # the last one's
                ear.unsubscribe()
            ear.subscribe(channel)
            _await_confirmation(ear)
        except BaseException:
            ear.close()
            raise
        return ear

    def take_back(self, ear: PubSub) -> None:
        """Keep a subscription for the next thread that waits; until then it stays as it is."""
        self._idle.append(ear)
        if len(self._idle) > MOST_IDLE:
            self._idle.popleft().close()
        self._free.release()

    def drop(self, ear: PubSub) -> None:
        """Close a subscription that is in use."""
        ear.close()
        self._free.release()

    def close(self) -> None:
        """Close the subscriptions that no thread uses."""
        while ear := self._kept():
            ear.close()

    def _kept(self) -> PubSub | None:
        try:
            return self._idle.pop()
        except IndexError:  # none, or another thread was faster
            return None


class Watch:
    """One wait, of one thread, until it is left.

    Args:
        ears: Where subscriptions come from.
        channel: To hear; None to look again after ever longer pauses instead.
    """

    def __init__(self, ears: Ears, channel: str | None) -> None:
        self._ears = ears
        self._channel = channel
        self._ear: PubSub | None = None

    def wait(self, waited_s: float, left_s: float, least_s: float = 0.0) -> bytes | None:
        """Wait until there is a reason to look again, or nothing to look for.

        Args:
            waited_s: How long it has been waited already, in seconds.
            left_s: How long it may be waited yet.
            least_s: How long to wait if nothing is heard and there is the time.

        Returns:
            What was published on the channel, if anything was.
        """
        if self._channel is None:
            pause_s = max(least_s, FIRST_POLL_S, min(LAST_POLL_S, waited_s / 20))
            time.sleep(min(pause_s, left_s))
            return None
        try:
            if self._ear is None:
                # And look again: it may have come before.
                self._ear = self._ears.lend(self._channel, min(left_s, LAST_LOOK_S))
            else:
                pause_s = max(least_s, LAST_POLL_S, min(LAST_LOOK_S, waited_s / 2))
                heard = self._ear.get_message(timeout=min(pause_s, left_s))
                return heard["data"] if heard and heard["type"] == "message" else None
        except RedisError:
            self.leave()
            self._channel = None
        except BaseException:  # Ctrl-C: half a reply may have been read
            if self._ear is not None:
                self._ears.drop(self._ear)
                self._ear = None
            raise
        return None

    def leave(self) -> None:
        """Stop waiting."""
        if self._ear is not None:
            self._ears.take_back(self._ear)
            self._ear = None


def _await_confirmation(ear: PubSub) -> None:
    end = time.monotonic() + CONFIRM_S
    while (left_s := end - time.monotonic()) > 0:
        heard = cast("dict[str, Any] | None", ear.get_message(timeout=left_s))
        if heard is not None and heard["type"] == "subscribe":
            return  # what came before is of the last who used it
    raise RedisError(f"no subscription within {CONFIRM_S:g} s")
