"""Pictures that used to take a worker's time, memory or life, on a worker with shipped settings."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

import psutil
import pytest
from support.hostile_images import LARGE, REFUSED
from support.image_zoo import photo
from support.worker_process import WorkerProcess

from worker.errors import ClipWorkerError, ImageInvalidError

if TYPE_CHECKING:
    from pathlib import Path

    from worker.client import Client

pytestmark = [pytest.mark.integration, pytest.mark.slow]

PENDING = "PENDING"
LABELS = ["red square", "blue circle"]
LIMIT_S = 240.0
BUDGET_BYTES = 3_000_000_000  # beside what the processes take when idle


def test_each_is_refused_or_answered_by_the_same_processes_within_their_memory(
    redis_url: str, tmp_path: Path, client: Client
) -> None:
    # given all of them on disk
    uris = {}
    for name, make in (REFUSED | LARGE).items():
        file = tmp_path / name.replace(" ", "_").replace(",", "")
        file.write_bytes(make())
        uris[name] = file.as_uri()
    photo((64, 48), seed=1).save(tmp_path / "small.jpg")
    small = (tmp_path / "small.jpg").as_uri()
    with WorkerProcess(redis_url, tmp_path, image_memory_bytes=str(BUDGET_BYTES)) as worker:
        assert client.classify(small, LABELS).get(LIMIT_S).predictions
        pid = worker.running.pid
        before_bytes = memory_bytes(pid)
        # when they come all at once, and neighbours between them
        handles = {name: client.classify(uri, LABELS) for name, uri in uris.items()}
        neighbours, peak_bytes = 0, 0
        while any(handle.state == PENDING for handle in handles.values()):
            assert client.classify(small, LABELS).get(LIMIT_S).predictions
            neighbours += 1
            peak_bytes = max(peak_bytes, memory_bytes(pid))
            time.sleep(0.05)
        # then
        codes = {name: code_of(handle) for name, handle in handles.items()}
        assert {code for name, code in codes.items() if name in REFUSED} == {
            "DECODE_TOO_EXPENSIVE",
            "TOO_MANY_PIXELS",
        }
        assert {name: code for name, code in codes.items() if name in LARGE} == dict.fromkeys(LARGE)
        assert neighbours > 0
        assert peak_bytes < before_bytes + BUDGET_BYTES
        assert (worker.running.pid, worker.running.poll()) == (pid, None)


def memory_bytes(pid: int) -> int:
    """What the worker's processes have to themselves, together."""
    worker = psutil.Process(pid)
    total = 0
    for each in (worker, *worker.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):  # one that stood in for others has ended
            total += each.memory_full_info().uss
    return total


def code_of(handle: object) -> str | None:
    try:
        handle.get(LIMIT_S)  # type: ignore[attr-defined]
    except ImageInvalidError as error:
        return error.code
    except ClipWorkerError as error:
        raise AssertionError(f"it failed otherwise: {error!r}") from error
    return None
