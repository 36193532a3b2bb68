"""Images that used to take a worker's time, memory or life, on a worker with shipped settings."""

from __future__ import annotations

import time
from contextlib import suppress

import psutil
import pytest
from support.hostile_images import LARGE, REFUSED
from support.worker_process import WorkerProcess

from clip_worker.errors import ImageInvalidError

pytestmark = [pytest.mark.integration, pytest.mark.slow]

LABELS = ["red square", "blue circle"]
LIMIT_S = 240.0
BUDGET_BYTES = 3_000_000_000  # beside what the processes take when idle


def test_each_is_refused_or_answered_by_the_same_processes_within_their_memory(
    redis_url, tmp_path, client, image
):
    # given all of them on disk
    uris = {}
    for name, make in (REFUSED | LARGE).items():
        file = tmp_path / name.replace(" ", "_").replace(",", "")
        file.write_bytes(make())
        uris[name] = file.as_uri()
    with WorkerProcess(redis_url, tmp_path, image_memory_bytes=str(BUDGET_BYTES)) as worker:
        assert client.classify(image, LABELS).get(LIMIT_S).predictions
        before_bytes = peak_bytes = memory_bytes(worker.pid)
        # when they come all at once, then neighbours between them are answered
        handles = {name: client.classify(uri, LABELS) for name, uri in uris.items()}
        while any(handle.state == "PENDING" for handle in handles.values()):
            assert client.classify(image, LABELS).get(LIMIT_S).predictions
            peak_bytes = max(peak_bytes, memory_bytes(worker.pid))
            time.sleep(0.05)
        # then
        codes = {name: code_of(handle) for name, handle in handles.items()}
        assert {code for name, code in codes.items() if name in REFUSED} == {
            "DECODE_TOO_EXPENSIVE",
            "TOO_MANY_PIXELS",
        }
        assert {name: code for name, code in codes.items() if name in LARGE} == dict.fromkeys(LARGE)
        assert peak_bytes < before_bytes + BUDGET_BYTES
        assert worker.running.poll() is None


def memory_bytes(pid: int) -> int:
    """What the worker's processes have to themselves, together."""
    worker = psutil.Process(pid)
    total = 0
    for each in (worker, *worker.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):  # one that stood in for others has ended
            total += each.memory_full_info().uss
    return total


def code_of(handle) -> str | None:
    try:
        handle.get(LIMIT_S)
    except ImageInvalidError as error:
        return error.code
    return None
