"""Workers that start at the same time encode the labels of a set once, all together."""

from __future__ import annotations

import signal
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from support.image_zoo import photo
from support.scrape import scraped
from support.waiting import wait_until
from support.worker_process import WorkerProcess

from clip_worker import Client
from worker.cli.demo.redis_server import find_free_port

if TYPE_CHECKING:
    from pathlib import Path

    from redis import Redis

    from clip_engine import Engine
    from clip_worker.client.handle import Handle
    from clip_worker.contract import Classification

pytestmark = [pytest.mark.integration, pytest.mark.slow]

LIMIT_S = 300.0
WORKERS = 8
LABELS = [f"thing number {number}" for number in range(1000)]
MANY = [f"thing number {number}" for number in range(20_000)]
LEASES = "clip-worker:text-features:*:leases"
ENCODED, SHARED = ("clip_worker_texts_encoded_total",), ("clip_worker_labels_shared_total",)


class ColdWorker:
    """A worker on a queue of its own, so that a task for it is for no other."""

    def __init__(self, redis_url: str, folder: Path, number: int, **settings: str) -> None:
        self.port, self.queue = find_free_port(), f"queue-{number}"
        settings |= {"metrics_port": str(self.port), "metrics_address": "127.0.0.1"}
        settings |= {"queue": self.queue, "preparation_processes": "1", "workers": str(WORKERS)}
        self.process = WorkerProcess(redis_url, folder, name=f"worker-{number}", **settings)

    def counted(self) -> tuple[float, float]:
        """Texts that it encoded, and labels whose features it found in Redis."""
        found = scraped(self.port)
        return found[ENCODED], found[SHARED]


@pytest.fixture
def image(tmp_path: Path) -> str:
    photo((50, 40), 1).save(tmp_path / "cat.jpg")
    return (tmp_path / "cat.jpg").as_uri()


def ask(redis_url: str, worker: ColdWorker, image: str) -> Handle[Classification]:
    with Client(redis_url, queue=worker.queue) as client:
        return client.classify(image, label_set="things", k=len(LABELS), return_embedding=True)


def answer(redis_url: str, worker: ColdWorker, handle: Handle[Classification]) -> Classification:
    with Client(redis_url, queue=worker.queue) as client:
        return client.handle(handle.id).get(LIMIT_S)


def test_eight_cold_workers_encode_a_set_of_a_thousand_labels_once(
    redis_url: str, tmp_path: Path, image: str, engine: Engine
) -> None:
    # given eight workers that have seen no label
    workers = [ColdWorker(redis_url, tmp_path, number) for number in range(WORKERS)]
    with ExitStack() as stack, Client(redis_url) as client:
        for worker in workers:
            stack.callback(worker.process.kill)
            worker.process.start()
        for worker in workers:
            worker.process.wait_for_log(" ready.", LIMIT_S)
        # when each gets a task with the same label set
        client.put_label_set("things", LABELS)
        handles = [ask(redis_url, worker, image) for worker in workers]
        answers = [answer(redis_url, *each) for each in zip(workers, handles, strict=True)]
        counted = [worker.counted() for worker in workers]
    # then
    assert sum(encoded for encoded, _ in counted) == len(LABELS)
    assert sum(shared for _, shared in counted) == (WORKERS - 1) * len(LABELS)
    # and all have the same probabilities, those of a model that has encoded all by itself
    first = {each.label: each.probability for each in answers[0].predictions}
    for other in answers[1:]:
        assert {each.label: each.probability for each in other.predictions} == first
    assert answers[0].embedding is not None
    expected = engine.classify([tmp_path / "cat.jpg"], LABELS, k=len(LABELS))[0]
    assert {each.label: each.probability for each in expected} == pytest.approx(first, abs=1e-5)


def test_the_labels_of_a_worker_that_is_killed_are_encoded_by_another(
    redis_url: str, tmp_path: Path, image: str, broker: Redis
) -> None:
    # given a worker that is killed while it encodes
    first, second = (ColdWorker(redis_url, tmp_path, number) for number in range(2))
    with first.process, second.process, Client(redis_url) as client:
        client.put_label_set("things", MANY)
        ask(redis_url, first, image)

        def stands_still_with_a_lease() -> bool:
            first.process.send_signal(signal.SIGSTOP)
            if any(broker.zcard(key) for key in broker.scan_iter(LEASES)):
                return True
            first.process.send_signal(signal.SIGCONT)
            return False

        wait_until(stands_still_with_a_lease)
        first.process.kill()
        # when another one needs the same labels
        found = answer(redis_url, second, ask(redis_url, second, image))
        encoded, shared = second.counted()
    # then it has used what there was, and encoded the rest
    assert len(found.predictions) == len(LABELS)
    assert encoded + shared == len(MANY)
    assert encoded > 0


def test_a_worker_that_does_not_share_encodes_by_itself(
    redis_url: str, tmp_path: Path, image: str, broker: Redis
) -> None:
    worker = ColdWorker(redis_url, tmp_path, 0, shared_text_features_max_bytes="0")
    with worker.process, Client(redis_url) as client:
        client.put_label_set("things", LABELS)
        answer(redis_url, worker, ask(redis_url, worker, image))
        assert worker.counted() == (len(LABELS), 0)
    assert not list(broker.scan_iter("clip-worker:text-features:*"))
