"""A picture that kills its worker, among others that `classify_many` sent with it."""

from __future__ import annotations

import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import faulty_app
import pytest
from support.image_zoo import photo
from support.worker_process import WorkerProcess

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.client import Client

pytestmark = [pytest.mark.integration, pytest.mark.slow]

PICTURES = 24
CHUNK = 8
GUILTY = 10  # in the second chunk
LABELS = ["red", "green"]
LIMIT_S = 240.0
LOOK_S = 0.1


@contextmanager
def restarted(worker: WorkerProcess) -> Iterator[None]:
    """Start the worker again whenever it ends, as a supervisor does."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(LOOK_S):
            if worker.running.poll() is not None:
                worker.start()

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_only_the_guilty_one_of_24_pictures_fails(tmp_path: Path, client: Client) -> None:
    good, bad = tmp_path / "good.jpg", tmp_path / "bad.jpg"
    photo((120, 90), seed=1).save(good)
    bad.write_bytes(faulty_app.picture(faulty_app.KILLS))
    images = [(bad if i == GUILTY else good).as_uri() for i in range(PICTURES)]
    command = (
        *("env", f"PYTHONPATH={Path(__file__).parent}", sys.executable),
        *("-m", "celery", "-A", "faulty_app", "worker", "-n", "faulty@%h", "--loglevel", "info"),
    )
    worker = WorkerProcess(client.url, tmp_path, command=command, lease_s="1", max_deliveries="1")
    with worker, restarted(worker):
        outcomes = list(client.classify_many(images, LABELS, chunk=CHUNK, timeout=LIMIT_S))

    assert sorted(position for position, _ in outcomes) == list(range(PICTURES))
    failed = {position: outcome.error for position, outcome in outcomes if outcome.error}
    assert list(failed) == [GUILTY]
    assert failed[GUILTY].code == "POISON"
    assert len(client.dead_letters) == 2  # the chunk's message, and the guilty picture's own
