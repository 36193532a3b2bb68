"""`clip-worker start` and `clip-worker classify` together, as processes, over a real Redis."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.redis_server import RedisServer, find_executable
from support.worker_process import WorkerProcess, clean_environment

from worker.cli.demo.images import DEMO_IMAGES, image_folder
from worker.cli.demo.redis_server import find_free_port

pytestmark = pytest.mark.integration

LIMIT_S = 120.0
CLIP_WORKER = (sys.executable, "-m", "worker.cli")
START = (*CLIP_WORKER, "start")
TAKING_TASKS = "taking tasks"


@pytest.fixture(scope="module")
def started(redis_server, tmp_path_factory):
    """`clip-worker start` with the demo model, shared by the tests that don't stop it."""
    folder = tmp_path_factory.mktemp("started")
    worker = WorkerProcess(redis_server.url, folder, command=START, queue="cli")
    worker.start()
    worker.wait_for_log(TAKING_TASKS)
    yield worker
    worker.kill()


def clip_worker(*arguments: object, **settings: str) -> subprocess.CompletedProcess[str]:
    return output_of([*CLIP_WORKER, *map(str, arguments)], **settings)


def output_of(command: list[str], **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        env=clean_environment() | {"PYTHONIOENCODING": "utf-8"} | settings,
        capture_output=True,
        encoding="utf-8",
        timeout=LIMIT_S,
        check=False,
    )


@pytest.fixture
def settings(started, redis_server):
    return {"CLIP_WORKER_REDIS_URL": redis_server.url, "CLIP_WORKER_QUEUE": "cli"}


@pytest.fixture
def classify(settings):
    return lambda *arguments: clip_worker("classify", *arguments, **settings)


def test_each_image_gets_the_right_label(classify):
    for image in DEMO_IMAGES[:3]:
        done = classify(image.path, "--labels", ",".join(image.labels), "-k", "1")

        name, rest = done.stdout.split("  ", 1)
        assert (name, rest.split("  ")[0]) == (str(image.path), image.answer)
        assert (done.returncode, done.stderr) == (0, "")


def test_a_broken_image_in_a_folder_fails_alone(classify, tmp_path):
    # given
    for image in DEMO_IMAGES:
        (tmp_path / image.file_name).symlink_to(image.path)
    (tmp_path / "broken.jpg").write_bytes(b"no image at all")

    done = classify(tmp_path, "--labels", "circle,star,heart", "-k", "2", "--json")

    objects = map(json.loads, done.stdout.splitlines())
    results = {Path(one["image"]).name: one for one in objects}
    assert done.returncode == 1
    assert done.stderr == f"clip-worker: 1 of {len(DEMO_IMAGES) + 1} images failed.\n"
    assert results.pop("broken.jpg")["error"]["code"] == "DECODE_UNRECOGNIZED"
    assert results.keys() == {image.file_name for image in DEMO_IMAGES}
    for result in results.values():
        first, second = result["predictions"]
        assert result["model"] == "demo"
        assert {first["label"], second["label"]} < {"circle", "star", "heart"}
        assert first["probability"] >= second["probability"]


def test_a_private_address_is_refused_in_its_row(classify):
    done = classify("http://127.0.0.1/cat.jpg", "--labels", "a,b")

    assert done.returncode == 1
    assert done.stdout.startswith("http://127.0.0.1/cat.jpg  ")
    assert "127.0.0.1" in done.stdout.removeprefix("http://127.0.0.1/cat.jpg")


def test_a_queue_without_workers_is_reported_after_the_timeout(classify):
    options = ["--labels", "a,b", "--queue", "nobody", "--timeout", "0.5"]

    done = classify(DEMO_IMAGES[0].path, *options)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("clip-worker: No result within 0.5 s: no worker seems to")
    assert "'nobody'" in done.stderr
    assert "`clip-worker start`" in done.stderr


def test_a_closed_pipe_is_not_an_error(settings):
    command = f"{' '.join(CLIP_WORKER)} classify {image_folder()} --labels a,b | head -n 1"

    done = output_of(["/bin/sh", "-c", command], **settings)

    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 1


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 1)])
def test_a_worker_prints_its_model_and_shuts_down_on_a_signal(redis_url, tmp_path, number, status):
    worker = WorkerProcess(redis_url, tmp_path, command=START)
    worker.start()
    worker.wait_for_log(TAKING_TASKS)

    worker.running.send_signal(number)

    assert worker.wait_for_end() == status
    lines = [line for line in worker.log.splitlines() if line]
    assert lines[0] == "clip-worker: loading demo ..."
    assert lines[1].startswith("clip-worker: demo (")
    assert lines[2].startswith("clip-worker: taking tasks; press Ctrl-C")
    assert all("Warm shutdown" in line or "Hitting Ctrl+C" in line for line in lines[3:])


@pytest.mark.slow
def test_a_worker_waits_for_a_redis_that_is_started_later(tmp_path):
    executable = find_executable()
    assert executable is not None
    with RedisServer(executable) as redis:
        # given
        redis.stop()
        worker = WorkerProcess(redis.url, tmp_path, command=START)
        worker.start()
        worker.wait_for_log("Waiting for it for up to 30 s")

        redis.restart()

        worker.wait_for_log(TAKING_TASKS)
        assert worker.log.count("can't be used") == 1
        assert worker.stop() == 0


def test_a_worker_without_redis_gives_up_and_does_not_print_the_password():
    url = f"redis://:hunter2@127.0.0.1:{find_free_port()}/0"

    done = clip_worker("start", "--redis-url", url, "--redis-wait", "0.5")

    first, last = done.stderr.splitlines()
    assert done.returncode == 1
    assert first.endswith("Waiting for it for up to 0.5 s ...")
    assert last.startswith("clip-worker: Gave up after waiting 0.5 s for Redis. Redis at")
    assert "redis://:***@127.0.0.1:" in last
    assert "hunter2" not in done.stderr + done.stdout


@pytest.mark.slow
def test_a_worker_with_an_unknown_model_takes_no_task(redis_url):
    done = clip_worker("start", "--redis-url", redis_url, "--model", "ViT-B/23")

    assert done.returncode == 1
    assert done.stdout == ""
    loading, why = done.stderr.splitlines()
    assert loading == "clip-worker: loading ViT-B/23 ..."
    assert why.startswith("clip-worker: The model CLIP_WORKER_MODEL='ViT-B/23' can't be loaded.")
    assert "ViT-B/32" in why
