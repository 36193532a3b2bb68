"""A real worker's memory while it is asked about pictures that are far larger than it."""

from __future__ import annotations

import io
import os
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from PIL import Image
from support.image_zoo import photo
from support.worker_process import WorkerProcess

from worker.client import Client
from worker.errors import ClipWorkerError

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.skipif(
        not os.access("/proc/self/clear_refs", os.W_OK),
        reason="this system tells no peak of memory",
    ),
]

WAIT_S = 120.0
MB = 1_000_000
LABELS = ["red circle", "blue square"]


def jpeg(size_bytes: int = 0) -> bytes:
    """A picture whose file is so large, with bytes behind its end that no decoder minds."""
    file = io.BytesIO()
    photo((64, 48), 1).save(file, "JPEG")
    return file.getvalue().ljust(size_bytes, b"\0")


def png(side: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (side, side), "red").save(file, "PNG", compress_level=1)
    return file.getvalue()


@contextmanager
def serving(pictures: dict[str, bytes]) -> Iterator[str]:
    """The base URL of a server that sends the same buffers to all."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            data = pictures[self.path.partition("?")[0]]
            self.send_response(200)
            if "chunked" not in self.path:
                self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            try:
                self.wfile.write(data)
            except OSError:  # it was more than there was room for
                self.close_connection = True

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        request_queue_size = 128

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


class Peak:
    """How far the memory of a worker's processes together grows from now on, at most.

    The pixels that they share count once for each, and one that ended meanwhile not at all.
    """

    def __init__(self, pid: int) -> None:
        worker = psutil.Process(pid)
        pids = [each.pid for each in (worker, *worker.children(recursive=True))]
        self._folders = [Path(f"/proc/{each}") for each in pids]
        for folder in self._folders:
            (folder / "clear_refs").write_text("5")
        self._before = [_read(folder, "VmRSS") for folder in self._folders]

    def growth_bytes(self) -> int:
        return sum(self._growths())

    def own_growth_bytes(self) -> int:
        """That of the process which holds the model."""
        return self._growths()[0]

    def _growths(self) -> list[int]:
        return [
            max(0, _read(folder, "VmHWM") - before)
            for folder, before in zip(self._folders, self._before, strict=True)
        ]


def _read(folder: Path, name: str) -> int:
    """0 of a process that has ended."""
    try:
        lines = (folder / "status").read_text().splitlines()
    except FileNotFoundError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(name)), 0)


def ends(client: Client, uris: list[str]) -> list[str]:
    """What became of each picture: `ok`, or the code of its failure."""
    handles = [client.classify(uri, LABELS) for uri in uris]
    told = []
    for handle in handles:
        try:
            handle.get(WAIT_S)
            told.append("ok")
        except ClipWorkerError as error:
            told.append(error.code)
    return told


def test_pictures_of_a_gigabyte_and_more_are_answered_within_the_memory_that_is_set(
    redis_url: str, tmp_path: Path, client: Client
) -> None:
    # given 60 pictures of 25 MB in all kinds of places, and small ones between them
    large = jpeg(25 * MB)
    (tmp_path / "large.jpg").write_bytes(large)
    with (
        serving({"/large.jpg": large, "/small.jpg": jpeg()}) as base,
        WorkerProcess(
            redis_url, tmp_path, allow_networks="127.0.0.0/8", image_memory_bytes="128000000"
        ) as worker,
    ):
        places = [
            base + "/large.jpg",
            base + "/large.jpg?chunked",
            (tmp_path / "large.jpg").as_uri(),
            client.upload(large),
        ]
        uris = [uri for _ in range(15) for uri in (*places, base + "/small.jpg")]
        assert ends(client, [base + "/small.jpg"]) == ["ok"]
        peak = Peak(worker.running.pid)
        # when
        told = ends(client, uris)
        # then
        assert told == ["ok"] * len(uris)
        assert peak.own_growth_bytes() < 300 * MB
        assert peak.growth_bytes() < 500 * MB  # of 1,500
        assert "ERROR" not in worker.log


def test_decodes_that_take_more_than_there_is_go_on_one_after_the_other(
    redis_url: str, tmp_path: Path, client: Client
) -> None:
    # given pictures of 36 million pixels, which take 144 MB each, and four processes
    (tmp_path / "many_pixels.png").write_bytes(png(6000))
    (tmp_path / "small.jpg").write_bytes(jpeg())
    uris = [(tmp_path / name).as_uri() for name in ("many_pixels.png", "small.jpg")]
    with WorkerProcess(
        redis_url, tmp_path, preparation_processes="4", image_memory_bytes="400000000"
    ) as worker:
        assert ends(client, uris[1:]) == ["ok"]
        peak = Peak(worker.running.pid)
        # when
        told = ends(client, uris * 8)
        # then
        assert told == ["ok"] * 16
        assert peak.own_growth_bytes() < 300 * MB
        assert peak.growth_bytes() < 500 * MB  # of 1,200
