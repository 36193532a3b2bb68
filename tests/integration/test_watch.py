"""`clip-worker watch` with real workers: what arrives is tagged, once."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING

import pytest
from support.waiting import wait_until
from support.watch_process import WatchProcess

from clip_worker.contract.keys import QueueKeys

if TYPE_CHECKING:
    from pathlib import Path

    from redis import Redis
    from support.worker_process import WorkerProcess

pytestmark = pytest.mark.integration


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    path = tmp_path / "inbox"
    path.mkdir()
    return path


def test_pictures_of_a_folder_are_tagged_and_ctrl_c_ends_it_in_order(
    running_worker: WorkerProcess, redis_url: str, inbox: Path, image_file: Path, tmp_path: Path
) -> None:
    picture = image_file.read_bytes()
    (inbox / "there.png").write_bytes(picture)
    with WatchProcess(redis_url, str(inbox), tmp_path) as watch:
        watch.wait_for(1)
        (inbox / "half.png").write_bytes(picture[: len(picture) // 2])
        (inbox / "new.png").write_bytes(picture)
        watch.wait_for(2)
        assert watch.stop(signal.SIGINT) == 0
        (inbox / "meanwhile.png").write_bytes(picture)
        watch.start()
        watch.wait_for(3)
        assert watch.stop() == 0

        assert watch.images() == dict.fromkeys(
            (str(inbox / name) for name in ("there.png", "new.png", "meanwhile.png")), 1
        )
        assert {row["label"] for row in watch.rows()} == {"red"}
        (failure,) = map(json.loads, watch.failures.read_text().splitlines())
        assert failure["image"] == str(inbox / "half.png")
        assert failure["code"] == "DECODE_TRUNCATED"
        assert "stopped: 3 done, 1 failed." in watch.log


def test_a_watch_may_be_continued_for_another_tenant(
    running_worker: WorkerProcess,
    redis_url: str,
    broker: Redis,
    inbox: Path,
    image_file: Path,
    tmp_path: Path,
) -> None:
    (inbox / "there.png").write_bytes(image_file.read_bytes())
    # given an image that waits for workers which never come
    with WatchProcess(redis_url, str(inbox), tmp_path, "--tenant=org:7", "--queue=q") as watch:
        wait_until(lambda: bool(broker.zscore(QueueKeys("q").tenants_waiting, "org:7")))
        watch.kill()
    # when
    with WatchProcess(redis_url, str(inbox), tmp_path, "--tenant=org:8") as watch:
        watch.wait_for(1)
        assert watch.stop() == 0
    # then the journal is the same
    assert watch.images() == {str(inbox / "there.png"): 1}


def test_a_folder_that_goes_away_ends_it_with_one_sentence(
    running_worker: WorkerProcess, redis_url: str, inbox: Path, image_file: Path, tmp_path: Path
) -> None:
    (inbox / "there.png").write_bytes(image_file.read_bytes())
    with WatchProcess(redis_url, str(inbox), tmp_path) as watch:
        watch.wait_for(1)
        inbox.rename(tmp_path / "moved")

        assert watch.wait_for_end() == 1
        assert f"clip-worker: The folder '{inbox}' can't be read: No such file" in watch.log
        assert "Traceback" not in watch.log
