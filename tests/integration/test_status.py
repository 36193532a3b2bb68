"""`clip-worker status` of real workers: nothing is wrong under full load, and a kill is noticed."""

from __future__ import annotations

import pytest
from support.different_images import different_images
from support.waiting import wait_until
from support.worker_process import WorkerProcess

from clip_worker import Client
from clip_worker.redis.url import connect
from worker.cli.status.findings import findings
from worker.cli.status.reader import SnapshotReader
from worker.cli.status.snapshot import Snapshot

pytestmark = pytest.mark.integration

LABELS = ["red", "blue", "green"]
TASKS = 600


@pytest.fixture
def reader(redis_url):
    with connect(redis_url) as redis:
        yield SnapshotReader(redis, redis_url, ["clip"])


def codes(snapshot: Snapshot) -> list[str]:
    return [finding.code for finding in findings(snapshot)]


def states(reader: SnapshotReader) -> list[str]:
    return [worker.report.state for worker in reader.read().workers]


def wait_for_code(reader: SnapshotReader, code: str) -> Snapshot:
    seen: list[Snapshot] = []

    def is_found() -> bool:
        seen.append(reader.read())
        return code in codes(seen[-1])

    wait_until(is_found, lambda: f"no {code!r} in {codes(seen[-1])}")
    return seen[-1]


def test_nothing_is_wrong_with_a_worker_under_full_load(reader, redis_url, tmp_path):
    # given
    images, snapshots = different_images(tmp_path, TASKS), []
    with WorkerProcess(redis_url, tmp_path, name="busy"), Client(redis_url) as client:
        # when
        handles = client.submit_many(images, LABELS)

        def is_done() -> bool:
            snapshots.append(reader.read())
            return not snapshots[-1].queues[0].status.total_messages

        wait_until(is_done, lambda: f"{snapshots[-1]}")
        assert handles[-1].get(timeout=60)
    # then
    assert [codes(snapshot) for snapshot in snapshots] == [[]] * len(snapshots)
    most = max(snapshot.queues[0].status.in_flight_messages for snapshot in snapshots)
    assert 1 <= most < TASKS
    [worker] = snapshots[-1].workers
    assert worker.report.worker.startswith("busy@")
    assert worker.report.model == "demo"


@pytest.mark.slow
def test_a_worker_that_is_killed_is_silent_and_then_nobody_takes_tasks(
    reader, redis_url, tmp_path, image
):
    # given
    with WorkerProcess(redis_url, tmp_path, name="killed") as worker:
        wait_until(lambda: states(reader) == ["ready"], lambda: states(reader))
        assert codes(reader.read()) == []
        # when
        worker.kill()
        snapshot = wait_for_code(reader, "silent_worker")
    # then
    assert codes(snapshot) == ["silent_worker", "no_worker"]


def test_a_worker_that_ends_in_order_is_not_missed(reader, redis_url, tmp_path):
    with WorkerProcess(redis_url, tmp_path, name="stopped") as worker:
        wait_until(lambda: states(reader) == ["ready"], lambda: states(reader))
        assert worker.stop() == 0
    assert codes(reader.read()) == ["no_worker"]
    assert reader.read().workers == []
