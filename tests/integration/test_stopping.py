"""How a worker ends, by order and by fault: what it held is not lost, and runs again soon."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import own_app
import pytest
from support.different_images import different_images
from support.queue_state import unacked
from support.waiting import wait_until
from support.worker_process import WorkerProcess

from clip_worker.contract.keys import DEFAULT_QUEUE, QueueKeys, dead_key
from worker.runtime.watchdog import DEVICE_LOST, HUNG

pytestmark = [pytest.mark.integration, pytest.mark.slow]

LIMIT_S = 120.0
REPLY_S = 5.0  # what is asked before the worker listens is never answered
KEYS = QueueKeys(DEFAULT_QUEUE)
LABELS = ["red", "green"]


def own_worker(redis_url: str, folder: Path, **settings: str) -> WorkerProcess:
    return WorkerProcess(redis_url, folder, name="own", app="own_app", lease_s="3", **settings)


def marked(folder: Path, mark: int) -> str:
    path = folder / f"{mark}.png"
    path.write_bytes(own_app.marked_image(mark))
    return path.as_uri()


@contextmanager
def restarted(worker: WorkerProcess):
    """Start the worker again whenever it ends, as a supervisor does; yields its exit statuses."""
    over, ends = threading.Event(), []

    def watch() -> None:
        while not over.wait(0.1):
            if (status := worker.running.poll()) is not None:
                ends.append(status)
                worker.start()

    thread = threading.Thread(target=watch)
    with worker:
        thread.start()
        try:
            yield ends
        finally:
            over.set()
            thread.join()


def test_a_stopping_worker_requeues_what_it_cannot_finish_and_ends_without_waiting_for_it(
    tmp_path, plain, client, broker, site
):
    # given: images that hang in their fetch, for longer than the worker may take to stop
    settings = {"allow_private": "true", "drain_timeout_s": "1", "fetch_timeout_s": "50"}
    with WorkerProcess(client.url, tmp_path, **settings) as worker:
        hanging = [client.classify(site.url(f"/{n}"), LABELS) for n in range(3)]
        wait_until(lambda: unacked(broker, KEYS) == 3)
        inspect = plain.control.inspect(timeout=REPLY_S, limit=1)
        wait_until(lambda: all(handle.id in str(inspect.reserved()) for handle in hanging))
        [(_, reported)] = inspect.query_task(hanging[0].id).items()
        assert reported[hanging[0].id][0] == "reserved"

        status = worker.stop()

    assert status == 0
    assert broker.llen(DEFAULT_QUEUE) == 3
    assert unacked(broker, KEYS) == broker.zcard(KEYS.leases) == broker.llen(KEYS.suspects) == 0
    assert [handle.state for handle in hanging] == ["PENDING"] * 3
    assert "Requeued 3 tasks" in worker.log


@pytest.mark.parametrize(
    ("mark", "patience_s", "status"),
    [
        (own_app.HANGS, "1", HUNG),
        (own_app.LOSES_DEVICE, "60", DEVICE_LOST),
    ],
)
def test_a_worker_that_hangs_or_loses_its_device_ends_itself_and_its_tasks_return(
    tmp_path, client, broker, mark, patience_s, status
):
    with own_worker(client.url, tmp_path, hang_timeout_s=patience_s) as worker:
        bad = client.classify(marked(tmp_path, mark), LABELS)

        # when it is at it, then the process ends with a status of its own
        assert worker.wait_for_end() == status
        assert "ends itself" in worker.log
    # and the message is where another worker takes it, with its history
    [entry] = broker.lrange(KEYS.suspects, 0, -1)
    assert entry.split(b"\n")[2].split()[2].startswith(b"own@")
    with WorkerProcess(client.url, tmp_path, name="next"):
        assert bad.get(LIMIT_S).predictions
    assert broker.keys("clip-worker:*:unacked:*") == broker.keys("clip-worker:*:started:*") == []


def test_a_message_that_ends_each_worker_is_given_up_and_its_neighbours_are_answered(
    tmp_path, client, broker
):
    # given: one bad message among good ones, and whoever dies is replaced
    images = different_images(tmp_path, 40)
    images[20] = marked(tmp_path, own_app.LOSES_DEVICE)
    handles = [client.classify(image, LABELS) for image in images]
    with restarted(own_worker(client.url, tmp_path, max_deliveries="3")) as ends:
        wait_until(lambda: broker.hlen(dead_key(DEFAULT_QUEUE)), limit_s=5 * LIMIT_S)
        for i, handle in enumerate(handles):
            if i != 20:
                assert handle.get(LIMIT_S).predictions

    assert ends == [DEVICE_LOST] * 3
    assert handles[20].state == "FAILURE"
    [letter] = broker.hkeys(dead_key(DEFAULT_QUEUE))
    assert letter.decode() == handles[20].id


def test_only_the_guilty_one_of_24_images_that_classify_many_sent_in_chunks_fails(tmp_path, client):
    guilty = 10  # in the second chunk
    images = different_images(tmp_path, 24)
    images[guilty] = marked(tmp_path, own_app.KILLS)
    settings: dict[str, Any] = {"lease_s": "1", "max_deliveries": "1"}
    with restarted(WorkerProcess(client.url, tmp_path, app="own_app", **settings)):
        outcomes = list(client.classify_many(images, LABELS, chunk=8, timeout=2 * LIMIT_S))

    assert sorted(position for position, _ in outcomes) == list(range(24))
    failed = {position: outcome.error for position, outcome in outcomes if outcome.error}
    assert list(failed) == [guilty]
    assert failed[guilty].code == "POISON"
    assert len(client.dead_letters) == 2  # the chunk's message, and the guilty image's own
