"""Waits for a result by a Redis subscription instead of polling.

Results are also published, on a channel named like the result's key. Subscriptions only save time:
without one, or if the connection is lost, or if the result was published before the subscription
began, the result is read by polling.
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
SUBSCRIBED_POLL_S = 0.5  # with one, in case it missed a message
CONFIRM_S = 1.0
MOST_IDLE = 16
MOST_SUBSCRIPTIONS = 256  # at a time, each with its own connection


class SubscriptionPool:
    """A pool of subscriptions, each used by one thread at a time. Thread-safe.

    Args:
        redis: Client of the Redis that results are stored in.
        most: Maximum number of subscriptions in use at a time.
    """

    def __init__(self, redis: Redis, most: int = MOST_SUBSCRIPTIONS) -> None:
        self._redis = redis
        self._most = most
        self._reset()

    def _reset(self) -> None:
        self._idle: deque[PubSub] = deque()
        self._free = threading.Semaphore(self._most)
        self._process = os.getpid()

    def acquire(self, channel: str, wait_s: float) -> PubSub | None:
        """Subscribe to one channel and wait until Redis has confirmed it.

        The caller releases or discards the subscription.

        Args:
            channel: Name of the channel.
            wait_s: Maximum time to wait while all subscriptions are in use, in seconds.

        Returns:
            None if all of them stayed in use.

        Raises:
            RedisError: Redis can't be reached, or does not allow the subscription.
        """
        if self._process != os.getpid():  # forked: these connections belong to the parent
            self._reset()
        if not self._free.acquire(timeout=wait_s):
            return None
        try:
            return self._subscribe(channel)
        except BaseException:
            self._free.release()
            raise

    def _subscribe(self, channel: str) -> PubSub:
        subscription = self._take_idle() or self._redis.pubsub()  # type: ignore[no-untyped-call]  # redis-py's
        try:
            if subscription.channels:  # of the previous wait
                subscription.unsubscribe()
            subscription.subscribe(channel)
            _await_confirmation(subscription)
        except BaseException:
            subscription.close()
            raise
        return subscription

    def release(self, subscription: PubSub) -> None:
        """Return a subscription to the pool; it stays subscribed until it is used again."""
        self._idle.append(subscription)
        if len(self._idle) > MOST_IDLE:
            self._idle.popleft().close()
        self._free.release()

    def discard(self, subscription: PubSub) -> None:
        """Close a subscription instead of returning it to the pool."""
        subscription.close()
        self._free.release()

    def close(self) -> None:
        """Close all idle subscriptions."""
        while subscription := self._take_idle():
            subscription.close()

    def _take_idle(self) -> PubSub | None:
        try:
            return self._idle.pop()
        except IndexError:  # empty, or another thread was faster
            return None


class ResultSubscription:
    """One thread's wait for a result, until it is closed.

    Args:
        pool: Where the subscription comes from.
        channel: Channel to subscribe to; None to poll with increasing pauses.
    """

    def __init__(self, pool: SubscriptionPool, channel: str | None) -> None:
        self._pool = pool
        self._channel = channel
        self._subscription: PubSub | None = None

    def wait(self, waited_s: float, left_s: float, least_s: float = 0.0) -> bytes | None:
        """Wait for a message, or until it is time to read the result again.

        Args:
            waited_s: How long the caller has waited so far, in seconds.
            left_s: How much longer it may wait.
            least_s: Shortest pause, if no message arrives and `left_s` allows it.

        Returns:
            The message that was published on the channel, if any.
        """
        if self._channel is None:
            pause_s = max(least_s, FIRST_POLL_S, min(LAST_POLL_S, waited_s / 20))
            time.sleep(min(pause_s, left_s))
            return None
        try:
            if self._subscription is None:
                # Then return: the result may have been stored before.
                self._subscription = self._pool.acquire(
                    self._channel, min(left_s, SUBSCRIBED_POLL_S)
                )
            else:
                pause_s = max(least_s, LAST_POLL_S, min(SUBSCRIBED_POLL_S, waited_s / 2))
                message = self._subscription.get_message(timeout=min(pause_s, left_s))
                return message["data"] if message and message["type"] == "message" else None
        except RedisError:
            self.close()
            self._channel = None
        except BaseException:  # Ctrl-C: half a reply may have been read
            if self._subscription is not None:
                self._pool.discard(self._subscription)
                self._subscription = None
            raise
        return None

    def close(self) -> None:
        """Return the subscription to the pool."""
        if self._subscription is not None:
            self._pool.release(self._subscription)
            self._subscription = None


def _await_confirmation(subscription: PubSub) -> None:
    end = time.monotonic() + CONFIRM_S
    while (left_s := end - time.monotonic()) > 0:
        message = cast("dict[str, Any] | None", subscription.get_message(timeout=left_s))
        if message is not None and message["type"] == "subscribe":
            return  # messages before this one belong to the previous wait
    raise RedisError(f"no subscription within {CONFIRM_S:g} s")
