"""Webhooks while workers are killed and the receiver fails in every way: each end is delivered."""

from __future__ import annotations

import random
import threading
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from support.different_images import different_images
from support.redis_server import RedisServer
from support.scripted_server import scripted_server
from support.waiting import wait_until
from support.webhook_receiver import BROKEN, OK, SECRET, read
from support.worker_process import READY, WorkerProcess

from clip_worker import Client
from clip_worker.contract.keys import DEFAULT_QUEUE, QueueKeys

if TYPE_CHECKING:
    import socket
    from pathlib import Path

pytestmark = [pytest.mark.integration, pytest.mark.slow]

TASKS = 300
KILLS = 4
LIMIT_S = 600.0  # what a killed worker was posting waits for a minute
KEYS = QueueKeys(DEFAULT_QUEUE)


class FlakyReceiver:
    """Fails a quarter of the requests, and loses the answer to some that it has accepted."""

    def __init__(self) -> None:
        self.accepted: Counter[tuple[str, str]] = Counter()  # task id and event id
        self.over = threading.Event()
        self._random = random.Random(7)
        self._lock = threading.Lock()

    def script(self, head: str, connection: socket.socket) -> None:
        received = read(head, connection)
        with self._lock:
            luck = self._random.random()
        if luck < 0.05:
            self.over.wait(60)  # hangs until the worker gives up
        elif luck < 0.15:
            connection.sendall(BROKEN)
        elif luck >= 0.25:
            event = received.event()
            with self._lock:
                self.accepted[event.task_id, event.id] += 1
            if luck >= 0.3:  # else the answer is lost
                connection.sendall(OK)

    def tasks(self) -> set[str]:
        with self._lock:
            return {task_id for task_id, _ in self.accepted}


def test_each_end_is_delivered_although_workers_are_killed_and_the_receiver_fails(
    server: RedisServer, tmp_path: Path
) -> None:
    receiver = FlakyReceiver()
    settings = {
        "webhook_secret": SECRET,
        "webhook_retry_s": "0.2",
        "webhook_timeout_s": "1",
        "webhook_attempts": "100",
        "allow_networks": "127.0.0.0/8",
        "file_roots": str(tmp_path),
        "lease_s": "2",
        "max_deliveries": "100",
    }
    workers = [WorkerProcess(server.url, tmp_path, name=f"w{n}", **settings) for n in range(2)]
    try:
        with scripted_server(receiver.script) as hooks, Client(server.url) as client:
            for worker in workers:
                worker.start()
            images = different_images(tmp_path, TASKS)
            handles = client.submit_many(images, ["red"], webhook=hooks.url("/hook"))
            for kill in range(KILLS):
                # a worker dies whenever some more were delivered
                wait_until(lambda kill=kill: len(receiver.tasks()) > kill * TASKS // 10)  # type: ignore[misc]  # its default
                worker = workers[kill % 2]
                worker.kill()
                worker.start()
            worker.wait_for_log(READY)
            ids = {handle.id for handle in handles}
            wait_until(lambda: receiver.tasks() == ids, limit_s=LIMIT_S)
            wait_until(lambda: server.client().zcard(KEYS.webhooks) == 0)
            assert server.client().hlen(KEYS.webhook_posts) == 0
            assert len(client.dead_letters) == 0
            # and of each task only one event, however often it came
            assert len(receiver.accepted) == TASKS
    finally:
        receiver.over.set()
        for worker in workers:
            worker.kill()
