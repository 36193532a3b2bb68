"""Several queues and priorities on one idle or busy worker, on a real Redis."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
import redis
from support.queue_state import unacked
from support.waiting import LIMIT_S, wait_until

from clip_worker.contract.keys import QueueKeys
from clip_worker.redis.url import connect
from worker.delivery import arrivals, poller
from worker.delivery.in_flight import InFlight
from worker.delivery.poller import Poller
from worker.delivery.redis_queue import RedisQueue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from worker.delivery.delivery import Delivery

pytestmark = pytest.mark.integration

A, B, C = QueueKeys("a"), QueueKeys("b"), QueueKeys("c")
WAITS = len(A.lists) + 1  # of an idle worker for a queue: its lists, and that of its tenants
LONG_S = 600.0


class Worker:
    """An intake, and what it has handed on, which takes up no room for long."""

    def __init__(self, url: str, *queues: QueueKeys) -> None:
        self.room = 8
        self.got: list[bytes] = []
        self.queues = [
            RedisQueue(connect(url), keys, lease_s=60, result_ttl_s=60) for keys in queues
        ]
        self.poller = Poller(self.queues, InFlight(), room=lambda: self.room, receive=self._receive)

    def _receive(self, entries: Sequence[Delivery]) -> None:
        self.got += [entry.message for entry in entries]


@pytest.fixture
def start(redis_url: str) -> Iterator[Callable[..., Worker]]:
    workers: list[Worker] = []

    def start(*queues: QueueKeys) -> Worker:
        workers.append(Worker(redis_url, *queues))
        return workers[-1]

    yield start
    for worker in workers:
        worker.poller.stop(LIMIT_S)
        for queue in worker.queues:
            queue.close()


def _blocked(server: redis.Redis) -> int:
    return int(server.info("clients")["blocked_clients"])


def test_queues_take_turns_whatever_their_order(
    server: redis.Redis, start: Callable[..., Worker]
) -> None:
    worker = start(A, B, C)
    server.lpush("a", *["a"] * 100)
    server.lpush("c", *["c"] * 100)

    for worker.room in (1, 3, 50, 2, 7, 1):
        worker.poller.turn()

    assert len(worker.got) == 64
    assert abs(worker.got.count(b"a") - worker.got.count(b"c")) <= 2


def test_a_queue_that_has_little_leaves_the_room_to_the_others(
    server: redis.Redis, start: Callable[..., Worker]
) -> None:
    worker = start(A, B)
    server.lpush("a", *["a"] * 100)
    server.lpush("b", *["b"] * 3)

    for _ in range(2):
        worker.poller.turn()

    assert (worker.got.count(b"a"), worker.got.count(b"b")) == (13, 3)


def test_inside_a_queue_priorities_keep_their_order(
    server: redis.Redis, start: Callable[..., Worker]
) -> None:
    worker = start(A, B)
    worker.room = 2
    server.lpush("b", *["b"] * 10)
    for keys_step, name in zip(A.lists, ("0", "3", "6", "9"), strict=True):
        server.lpush(keys_step, name)

    for _ in range(4):
        worker.poller.turn()

    assert worker.got.count(b"b") == 4
    assert [message for message in worker.got if message != b"b"] == [b"0", b"3", b"6", b"9"]


@pytest.mark.parametrize("where", [*A.lists, *B.lists])
def test_a_message_wakes_an_idle_worker_in_whatever_list_it_comes(
    server: redis.Redis,
    start: Callable[..., Worker],
    monkeypatch: pytest.MonkeyPatch,
    where: str,
) -> None:
    # given a worker that looks for itself only after ten minutes
    monkeypatch.setattr(poller, "WAIT_S", LONG_S)
    monkeypatch.setattr(arrivals, "BLOCK_S", LONG_S, raising=True)
    worker = start(A, B)
    thread = threading.Thread(target=lambda: (worker.poller.turn(), worker.poller.turn()))
    thread.start()
    wait_until(lambda: _blocked(server) == 2 * WAITS)

    server.lpush(where, "m")

    thread.join(LIMIT_S)
    assert worker.got == [b"m"]
    assert unacked(server, A) + unacked(server, B) == 1
    worker.poller._stop_waiting()


def test_a_worker_without_room_leaves_what_comes_to_the_idle_ones(
    server: redis.Redis, start: Callable[..., Worker]
) -> None:
    full, idle = start(A), start(A)
    for worker in (full, idle):
        worker.poller.start()
    wait_until(lambda: _blocked(server) == 2 * WAITS)
    full.room = 0
    server.lpush("a", "m")  # this wakes the one that waits for longest
    wait_until(lambda: server.llen(A.arrived[0]) == 1 or idle.got)
    idle.poller.wake()  # as its heartbeat does
    wait_until(lambda: idle.got == [b"m"])
    wait_until(lambda: _blocked(server) == WAITS)

    server.lpush("a", "n")

    wait_until(lambda: idle.got == [b"m", b"n"])
    assert full.got == []


def test_a_queue_that_is_left_is_not_waited_for_any_more(
    server: redis.Redis, start: Callable[..., Worker]
) -> None:
    worker = start(A, B)
    worker.poller.start()
    wait_until(lambda: _blocked(server) == 2 * WAITS)
    worker.poller.remove("b")
    wait_until(lambda: _blocked(server) == WAITS)
    server.lpush("b", "b")
    server.lpush("a", "a")
    wait_until(lambda: worker.got == [b"a"])
    assert server.lrange("b", 0, -1) == [b"b"]
