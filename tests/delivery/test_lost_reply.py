"""A command that Redis carried out, and whose reply was lost with the connection."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING

import pytest
import redis
from support.queue_state import unacked

from clip_worker.contract.keys import QueueKeys
from clip_worker.redis.url import connect
from worker.delivery.redis_queue import RedisQueue

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.redis_server import RedisServer

pytestmark = pytest.mark.integration

KEYS = QueueKeys("q")
CHUNK_BYTES = 65_536


class LosesReply:
    """Passes commands on to Redis and replies back, but for the reply to one script.

    Args:
        port: Of Redis, on loopback.
    """

    def __init__(self, port: int) -> None:
        self.armed = threading.Event()
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                threading.Thread(target=self._talk, args=[near], daemon=True).start()

    def _talk(self, near: socket.socket) -> None:
        with near, socket.create_connection(("127.0.0.1", self._target)) as far:
            while command := near.recv(CHUNK_BYTES):
                far.sendall(command)
                reply = far.recv(CHUNK_BYTES)
                if self.armed.is_set() and b"EVALSHA" in command:
                    self.armed.clear()
                    return
                near.sendall(reply)


@pytest.fixture
def queue(redis_server: RedisServer) -> Iterator[tuple[RedisQueue, LosesReply]]:
    line = LosesReply(redis_server.port)
    queue = RedisQueue(
        connect(f"redis://127.0.0.1:{line.port}/0"), KEYS, lease_s=10, result_ttl_s=60
    )
    yield queue, line
    queue.close()
    line.close()


def test_no_message_is_lost_with_the_reply_to_a_take(
    redis_url: str, queue: tuple[RedisQueue, LosesReply]
) -> None:
    # given: the script is known to Redis, and the next reply will be lost
    books, line = queue
    books.take(1)
    with redis.Redis.from_url(redis_url) as server:
        server.lpush("q", *range(20))
        line.armed.set()

        taken = books.take(10)

        assert not line.armed.is_set()
        assert [entry.message for entry in taken] == [str(i).encode() for i in range(10)]
        assert server.llen("q") + unacked(server, KEYS) == 20
