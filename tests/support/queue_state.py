"""What workers hold of a queue, each in a hash of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clip_worker.contract.keys import QueueKeys

if TYPE_CHECKING:
    from collections.abc import Iterator

    import redis

KEYS = QueueKeys("q")  # of a queue that a test writes to by itself


def unacked(server: redis.Redis, keys: QueueKeys) -> int:
    """How many messages are in flight, on all workers."""
    return sum(server.hlen(key) for key in server.scan_iter(keys.unacked("*"), count=1000))


def unacked_entries(server: redis.Redis, keys: QueueKeys) -> Iterator[bytes]:
    """They themselves."""
    for key in server.scan_iter(keys.unacked("*"), count=1000):
        yield from server.hvals(key)


def started(server: redis.Redis, keys: QueueKeys) -> dict[bytes, bytes]:
    """The lines of what has been started, by tag."""
    found = {}
    for key in server.scan_iter(keys.started("*"), count=1000):
        found.update(server.hgetall(key))
    return found


def accuse(server: redis.Redis, keys: QueueKeys, crashes: int) -> None:
    """Leave the next message of the queue as workers leave it that died of it, each time alone."""
    line = b"1.0 1 gone\n"
    message = server.rpop(keys.queue)
    assert isinstance(message, bytes)
    history = b"%s\n%d\n%s" % (keys.queue.encode(), crashes, line * crashes)
    server.lpush(keys.suspects, history + message)
