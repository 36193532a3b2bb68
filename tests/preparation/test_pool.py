"""The preparation pool with real processes: what comes out is what this process would give."""

from __future__ import annotations

import base64
import io
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.image_zoo import photo, write_zoo
from support.preparing import RESOLUTION, Bench, running, settings, status
from support.scripted_server import answering, response, scripted_server
from support.waiting import LIMIT_S, is_gone, wait_until

from clip_engine.errors import ImageError
from clip_engine.images.transform import ImageTransform
from clip_engine.preprocess import Preprocessor
from clip_worker.errors import ClipWorkerError, TemporaryError
from worker.preparation import ImageRequest, PreparationPool, launcher
from worker.sources import Fetcher, FetchPolicy

linux = pytest.mark.skipif(sys.platform != "linux", reason="/proc tells what is checked")


def jpeg(size: tuple[int, int] = (64, 48), seed: int = 0, **options: Any) -> bytes:
    file = io.BytesIO()
    photo(size, seed).save(file, "JPEG", **options)
    return file.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pictures")


@pytest.fixture(scope="module")
def shared_bench(folder: Path) -> Iterator[Bench]:
    policy = FetchPolicy(file_roots=(folder,), allow_private=True)
    with running(settings(policy=policy, memory_bytes=64_000_000)) as bench:
        yield bench


@pytest.fixture
def bench(shared_bench: Bench) -> Bench:
    shared_bench.outcomes.clear()
    shared_bench.pixels.clear()
    return shared_bench


def test_pixels_are_those_that_this_process_would_make(bench: Bench, folder: Path) -> None:
    files = [path.read_bytes() for path in write_zoo(folder, 27, seed=5)]
    keys = bench.submit(*files)
    assert bench.codes(keys) == [None] * len(files)
    for key, data in zip(keys, files, strict=True):
        assert bench.pixels[key].equal(Preprocessor(ImageTransform(RESOLUTION)).from_bytes(data))


def test_images_are_resized_as_the_model_takes_them() -> None:
    transform, data = ImageTransform(RESOLUTION, "longest", "bilinear", fill=9), jpeg()
    with running(settings(transform=transform)) as bench:
        [key] = bench.submit(data)
        assert bench.codes([key]) == [None]
        assert bench.pixels[key].equal(Preprocessor(transform).from_bytes(data))


def test_files_and_data_uris_are_fetched(bench: Bench, folder: Path) -> None:
    data = jpeg()
    (folder / "cat.jpg").write_bytes(data)
    uri = "data:image/jpeg;base64," + base64.b64encode(data).decode()
    keys = bench.submit(f"file://{folder}/cat.jpg", uri, data)
    assert bench.codes(keys) == [None] * 3
    assert bench.pixels[0].equal(bench.pixels[1])
    assert bench.pixels[0].equal(bench.pixels[2])


def test_errors_are_those_that_this_process_would_raise(bench: Bench, folder: Path) -> None:
    sound = jpeg()
    broken = [b"", b"no image", sound[:-300], b"GIF89a" + bytes(40)]
    wrong = [f"file://{folder}/none.jpg", "file:///etc/passwd", "cat.jpg", "data:image/png,!"]
    wrong += ["redis://uploads/" + "0" * 64, "https://exa mple.com/", "http://169.254.169.254/"]
    keys = bench.submit(*broken, *wrong)
    outcomes = bench.wait(keys)
    fetcher = Fetcher(FetchPolicy(file_roots=(folder,), allow_private=True))

    def prepare(picture: bytes | str) -> None:
        data = picture if isinstance(picture, bytes) else fetcher.fetch(picture)
        Preprocessor(ImageTransform(RESOLUTION)).from_bytes(data)

    for outcome, picture in zip(outcomes, [*broken, *wrong], strict=True):
        with pytest.raises((ImageError, ClipWorkerError)) as expected:
            prepare(picture)
        assert type(outcome.error) is type(expected.value)
        assert outcome.error.args == expected.value.args
        assert outcome.slot is None


def test_what_a_server_asks_to_wait_comes_along(bench: Bench) -> None:
    answer = response(status="503 Busy", Retry_After="7")
    with scripted_server(answering(answer)) as server:
        (outcome,) = bench.wait(bench.submit(server.url()))
    assert isinstance(outcome.error, TemporaryError)
    assert (outcome.error.code, outcome.error.retry_after_s) == ("FETCH_503", 7.0)


def test_a_slow_server_does_not_hold_up_others(bench: Bench) -> None:
    served = threading.Event()

    def script(_head: str, connection: Any) -> None:
        assert served.wait(LIMIT_S)
        connection.sendall(response(jpeg()))

    with scripted_server(script) as server:
        slow = bench.submit(*[server.url()] * 4)
        assert bench.codes(bench.submit(*[jpeg()] * 40, first=100)) == [None] * 40
        assert not {*slow} & {*bench.outcomes}
        served.set()
        assert bench.codes(slow) == [None] * 4


def test_more_pictures_than_slots_wait_in_order(bench: Bench) -> None:
    keys = bench.submit(*[jpeg(seed=seed % 7) for seed in range(500)])
    assert bench.codes(keys) == [None] * 500


def test_an_image_whose_deadline_has_passed_is_not_prepared(bench: Bench) -> None:
    bench.pool.submit([ImageRequest(0, "redis://uploads/x", jpeg(), within_s=0.0)])
    assert bench.codes([0]) == ["EXPIRED"]
    assert bench.codes(bench.submit(jpeg(), first=1)) == [None]


def test_a_slot_is_given_back_once() -> None:
    pool = PreparationPool(settings(), lambda _: None)
    with pytest.raises(ValueError, match="Slot 3"):
        pool.release([3])
    pool.stop(0)


def test_large_pictures_take_turns_and_one_that_never_fits_is_refused(bench: Bench) -> None:
    # given 2 MB a process and 32 MB for large ones, of which the first kind takes 10 an image
    large = io.BytesIO()
    photo((1000, 900), 1).save(large, "PNG", compress_level=1)
    huge = io.BytesIO()
    Image.new("RGB", (3000, 3000)).save(huge, "PNG")
    keys = bench.submit(*[large.getvalue()] * 8, huge.getvalue(), jpeg())
    assert bench.codes(keys) == [*[None] * 8, "TOO_MANY_PIXELS", None]


@linux
def test_processes_are_restricted_and_the_fork_server_is_clean(bench: Bench) -> None:
    server, *pids = bench.pids()
    assert status(server)["Threads"] == "1"
    mapped = Path(f"/proc/{server}/maps").read_text()
    assert "/dev/nvidia" not in mapped
    for pid in pids:
        assert status(pid)["NoNewPrivs"] == "1"
        assert status(pid)["PPid"] == str(server)
        limits = Path(f"/proc/{pid}/limits").read_text().splitlines()
        found = {line[:26].strip(): line[26:].split()[:2] for line in limits}
        assert found["Max core file size"][0] == "0"
        assert found["Max address space"][0] != "unlimited"
        assert int(found["Max open files"][0]) < 256
        for name in (signal.SIGTERM, signal.SIGINT):
            os.kill(pid, name)  # a terminal's, or a stop of the whole group: the worker decides
    assert bench.codes(bench.submit(*[jpeg()] * 40)) == [None] * 40
    assert bench.pids() == [server, *pids]


def test_on_prepared_may_fail(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.raises = ZeroDivisionError()
    assert bench.codes(bench.submit(*[jpeg()] * 40)) == [None] * 40
    assert "could not be handed on" in caplog.text


def test_where_nothing_can_be_started_pictures_fail_for_now_and_a_stop_fails_the_rest(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    bench = Bench(settings(processes=1))
    with monkeypatch.context() as patched:
        patched.setattr(launcher.sys, "executable", "/no/such/python")
        bench.submit(jpeg())
        bench.pool.start()
        (outcome,) = bench.wait([0])
    assert type(outcome.error) is TemporaryError
    assert outcome.error.code == "PREPARATION_UNAVAILABLE"
    assert "trying again" in caplog.text
    # and it goes on once they can
    assert bench.pool.wait_until_ready(LIMIT_S)
    assert bench.codes(bench.submit(jpeg(), first=1)) == [None]
    # and when it is stopped
    pids = bench.pids()
    keys = bench.submit(*[jpeg((1600, 1200))] * 300, first=2)
    bench.pool.stop(LIMIT_S)
    assert {*bench.codes(keys)} <= {None, "STOPPING"}
    assert "STOPPING" in bench.codes(keys)
    assert all(map(is_gone, pids))
    # and afterwards
    assert bench.codes(bench.submit(jpeg(), first=1000)) == ["STOPPING"]


OWNER = """
import sys, time
from support.preparing import Bench, settings
bench = Bench(settings())
bench.pool.start()
while len(bench.pids()) < 3:
    time.sleep(0.01)
print(*bench.pids(), flush=True)
time.sleep(600)
"""


def test_all_processes_end_with_the_worker_however_it_ends() -> None:
    here = Path(__file__).parents[1]
    path = os.pathsep.join([str(here.parent), str(here)])
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": path},
        text=True,
    )
    with owner:
        assert owner.stdout is not None
        pids = [int(pid) for pid in owner.stdout.readline().split()]
        assert len(pids) == 3
        owner.kill()
    wait_until(lambda: all(map(is_gone, pids)))


def test_a_default_time_out_of_the_program_is_none_of_its_sockets() -> None:
    # given a program, such as Celery after a reconnect, that sets one: new sockets do not block
    socket.setdefaulttimeout(5.0)
    try:
        with running(settings(processes=1)) as bench:
            assert bench.codes(bench.submit(jpeg())) == [None]
            assert bench.pool.stats()["restarts"] == 0
    finally:
        socket.setdefaulttimeout(None)
