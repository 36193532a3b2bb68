"""A worker that was stopped for longer than its lease begins nothing that others have by now."""

from __future__ import annotations

import signal

import pytest
from support.different_images import different_images
from support.queue_state import unacked
from support.waiting import wait_until
from support.worker_process import WorkerProcess

from clip_worker.contract import CLASSIFY
from clip_worker.contract.keys import DEFAULT_QUEUE, QueueKeys

pytestmark = [pytest.mark.integration, pytest.mark.slow]

KEYS = QueueKeys(DEFAULT_QUEUE)
LABELS = ["red square", "blue circle"]
ENCODE_S = 0.2
BATCH = 2
TASKS = 30
LIMIT_S = 120.0
DROPPED = "messages that other workers have now"
# An ETA that is over when the worker goes on, and not before it has stopped.
COUNTDOWN_S = 8.0


class MarkingWorker(WorkerProcess):
    """Its processes write down what they begin: see own_app.py."""

    def __init__(self, redis_url, folder, name, encode_s=0.0) -> None:
        self.marks_folder = folder / "marks"
        self.marks_folder.mkdir(exist_ok=True)
        environment = {"MARKS": str(self.marks_folder), "ENCODE_S": str(encode_s)}
        settings = {"lease_s": "3", "replicas": "1", "max_batch": str(BATCH)}
        super().__init__(
            redis_url, folder, name=name, app="own_app", environment=environment, **settings
        )

    @property
    def marks(self) -> list[str]:
        """What the process has begun, in order."""
        file = self.marks_folder / str(self.pid)
        return file.read_text().split() if file.exists() else []


@pytest.fixture
def start(redis_url, tmp_path):
    workers = []

    def start(name, encode_s=0.0):
        workers.append(MarkingWorker(redis_url, tmp_path, name, encode_s))
        return workers[-1].__enter__()

    yield start
    for worker in workers:
        worker.send_signal(signal.SIGCONT)
        worker.kill()


@pytest.fixture
def images(tmp_path) -> list[str]:
    """Different ones: what is asked for at once about the same image is encoded once."""
    return different_images(tmp_path, TASKS)


def test_it_encodes_nothing_that_another_worker_has_taken_over(start, client, image, images):
    # given a worker that stands still with many images before its model, by both ways
    stopped = start("stopped", ENCODE_S)
    handles = client.submit_many(images, LABELS)
    task = client._app.signature(CLASSIFY, kwargs={"labels": LABELS})
    task.link_error(client._app.signature("no.such.task")).set(queue=DEFAULT_QUEUE)
    messages = [task.clone(kwargs={"image": each}) for each in images]
    handles += [client.handle(message.apply_async().id) for message in messages]
    wait_until(lambda: len(stopped.marks) > BATCH)
    stopped.send_signal(signal.SIGSTOP)
    before = len(stopped.marks)
    assert before < 2 * TASKS

    # when another one has done all of them, and it goes on
    other = start("other")
    for handle in handles:
        assert handle.get(LIMIT_S).predictions
    stopped.send_signal(signal.SIGCONT)

    # then it begins none of them; but a batch may have been about to at that very moment
    stopped.wait_for_log(DROPPED)
    assert other.stop() == 0
    assert client.classify(image, LABELS).get(LIMIT_S).predictions
    assert len(stopped.marks) - before <= BATCH + 1
    assert stopped.stop() == 0


def test_it_runs_no_task_of_celerys_that_another_worker_has_taken_over(
    start, client, broker, image
):
    note = client._app.signature("own.notes").set(queue=DEFAULT_QUEUE)
    # given a worker that stands still while tasks wait in Celery for their time
    stopped = start("stopped")
    results = [note.clone((i,)).apply_async(countdown=COUNTDOWN_S) for i in range(TASKS)]
    wait_until(lambda: unacked(broker, KEYS) == TASKS)
    stopped.send_signal(signal.SIGSTOP)
    assert stopped.marks == []

    # when another one has run all of them, and it goes on
    other = start("other")
    wait_until(lambda: all(broker.exists(f"celery-task-meta-{result.id}") for result in results))
    stopped.send_signal(signal.SIGCONT)

    # then it runs none of them, and others it does
    stopped.wait_for_log(DROPPED)
    assert other.stop() == 0
    last = note.clone((TASKS,)).apply_async()
    wait_until(lambda: broker.exists(f"celery-task-meta-{last.id}"))
    assert client.classify(image, LABELS).get(LIMIT_S).predictions
    assert stopped.marks == [f"note-{TASKS}", "encode"]
    assert stopped.stop() == 0


def test_what_nobody_has_taken_over_it_goes_on_with(start, client, broker, images):
    worker = start("alone", ENCODE_S)
    handles = client.submit_many(images, LABELS)
    wait_until(lambda: len(worker.marks) > BATCH)
    worker.send_signal(signal.SIGSTOP)
    # when its lease has lapsed
    ends = max(score for _, score in broker.zrange(KEYS.leases, 0, -1, withscores=True))
    wait_until(lambda: broker.time()[0] > ends)
    worker.send_signal(signal.SIGCONT)

    for handle in handles:
        assert handle.get(LIMIT_S).predictions
    assert len(worker.marks) == TASKS
    assert DROPPED not in worker.log
