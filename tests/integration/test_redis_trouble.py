"""What Redis and the network may do to a worker that is at work, and how it goes on by itself.

Restarts and failovers are in test_failover.py and test_torture.py.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import time

import pytest
from support.different_images import different_images
from support.queue_state import unacked
from support.waiting import wait_until
from support.worker_process import WorkerProcess
from torture.proxy import Proxy

from clip_worker import Client
from clip_worker.contract import CLASSIFY
from clip_worker.contract.keys import DEFAULT_QUEUE, QueueKeys
from clip_worker.errors import QueueUnavailableError

pytestmark = [pytest.mark.integration, pytest.mark.slow]

LABELS = ["red square", "blue circle"]
KEYS = QueueKeys(DEFAULT_QUEUE)
WAIT_S = 240.0  # a take whose reply was lost is requeued after one or two leases
OUTAGE_S = 7.0  # longer than any connection waits for a reply
PARTITION_S = 12.0
TASKS = 40
MANY = 50
DIFFERENT = 500  # more than two workers hold at a time
ROOM_BYTES = 1_000_000


class Trouble:
    """What may happen to a Redis and to a worker's way to it, and how it ends."""

    def __init__(self, server, proxy) -> None:
        self.server = server
        self.proxy = proxy

    def demote(self):
        self.server.client().replicaof("127.0.0.1", "1")
        return OUTAGE_S, lambda: self.server.client().replicaof("NO", "ONE")

    def fill(self):
        self.server.client().config_set("maxmemory", 1)
        return OUTAGE_S, lambda: self.server.client().config_set("maxmemory", 0)

    def freeze(self):
        os.kill(self.server.pid, signal.SIGSTOP)
        return OUTAGE_S, lambda: os.kill(self.server.pid, signal.SIGCONT)

    def cut(self):
        self.proxy.cut()
        return PARTITION_S, self.proxy.heal

    def slow_down(self):
        self.server.client().execute_command("CLIENT", "PAUSE", 1000, "ALL")
        return 0.0, lambda: None


@pytest.mark.parametrize("kind", ["demote", "fill", "freeze", "cut", "slow_down"])
def test_an_outage_costs_a_worker_time_and_nothing_else(server, tmp_path, image, site, kind):
    settings = {"lease_s": "40", "allow_private": "true", "fetch_timeout_s": "600"}
    with (
        Proxy(server.port) as proxy,
        WorkerProcess(proxy.url, tmp_path, **settings) as worker,
        Client(server.url) as client,
    ):
        client.classify(image, LABELS).get(WAIT_S)
        images = different_images(tmp_path, 11 * TASKS)
        # given tasks in flight and tasks that wait when it begins
        handles = client.submit_many([site.url(f"/{n}") for n in range(4)], LABELS)
        wait_until(lambda: unacked(server.client(), KEYS) == 4)
        handles += client.submit_many(images[:TASKS], LABELS)
        outage_s, end = getattr(Trouble(server, proxy), kind)()
        site.go.set()
        time.sleep(outage_s)
        end()
        # then all of them are answered, and later ones too: no slot was lost
        handles += client.submit_many(images[TASKS:], LABELS)
        for handle in handles:
            assert handle.get(WAIT_S).predictions
        wait_until(lambda: unacked(server.client(), KEYS) == 0)
        # and no task was anybody else's meanwhile
        assert "from a lost worker" not in worker.log
        if kind in ("fill", "cut", "slow_down"):
            assert worker.log.count("succeeded in") == 1 + len(handles)
            assert "results were not stored" not in worker.log
        assert worker.running.poll() is None
        assert worker.stop() == 0


def test_workers_start_on_a_redis_that_is_full_of_messages_and_empty_it(server, tmp_path, image):
    with Client(server.url) as client:
        handles = fill_with_messages(server, client, different_images(tmp_path, DIFFERENT))
        assert len(handles) > 2 * MANY

        # when two workers start
        with (
            WorkerProcess(server.url, tmp_path, name="first") as first,
            WorkerProcess(server.url, tmp_path, name="second") as second,
        ):
            # then every caller is answered
            end = time.monotonic() + WAIT_S
            answers = [handle.get(max(1.0, end - time.monotonic())) for handle in handles]
            assert {answer.predictions[0].label for answer in answers} == {"red square"}
            # and both workers go on where there is memory, and stop in order
            server.client().config_set("maxmemory", 0)
            assert client.classify(image, LABELS).get(WAIT_S).predictions
            assert (first.stop(), second.stop()) == (0, 0)


def fill_with_messages(server, client, images):
    """Send until nothing more is taken: not a message, nor the least of all writes."""
    redis = server.client()
    redis.config_set("maxmemory", redis.info("memory")["used_memory"] + ROOM_BYTES)
    # The first are such as Celery runs, which stores their results itself.
    task = client._app.signature(CLASSIFY, kwargs={"labels": LABELS})
    task.link_error(client._app.signature("no.such.task"))
    task.set(queue=DEFAULT_QUEUE)
    messages = [task.clone(kwargs={"image": image}) for image in images[:MANY]]
    handles = [client.handle(str(message.apply_async().id)) for message in messages]
    left = itertools.cycle(images)
    for count in (MANY, 1):
        with contextlib.suppress(QueueUnavailableError):
            while True:
                handles += client.submit_many(list(itertools.islice(left, count)), LABELS)
    with pytest.raises(QueueUnavailableError, match="memory is full"):
        client.submit_many(images[:1], LABELS)
    return handles
