"""A real worker's memory while it is asked about images that are far larger than it."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image
from support.image_zoo import photo
from support.peak_memory import Peak, needs_peaks
from support.scripted_server import response, scripted_server
from support.worker_process import WorkerProcess

from clip_worker.errors import ClipWorkerError

pytestmark = [pytest.mark.integration, pytest.mark.slow, needs_peaks]

WAIT_S = 120.0
MB = 1_000_000
LABELS = ["red circle", "blue square"]


def jpeg(size_bytes: int = 0) -> bytes:
    """An image whose file is so large, with bytes behind its end that no decoder minds."""
    file = io.BytesIO()
    photo((64, 48), 1).save(file, "JPEG")
    return file.getvalue().ljust(size_bytes, b"\0")


def linked(path: Path, number: int) -> str:
    """The URI of the same file under another name, which is another image to a worker."""
    other = path.with_name(f"{number}-{path.name}")
    other.hardlink_to(path)
    return other.as_uri()


def ends(client, uris: list[str]) -> list[str]:
    """What became of each image: `ok`, or the code of its failure."""
    handles = [client.classify(uri, LABELS) for uri in uris]
    reported = []
    for handle in handles:
        try:
            handle.get(WAIT_S)
            reported.append("ok")
        except ClipWorkerError as error:
            reported.append(error.code)
    return reported


def test_images_of_a_gigabyte_and_more_are_answered_within_the_memory_that_is_set(
    redis_url, tmp_path, client
):
    # given 48 images of 25 MB in all kinds of places, and small ones between them
    large, small = jpeg(25 * MB), jpeg()
    whole, of_unknown_length = response(large), b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
    pages = {"/large.jpg": [whole], "/small.jpg": [response(small)]}
    pages["/unknown.jpg"] = [of_unknown_length, large]

    def script(head, connection):
        connection.settimeout(None)  # a worker without room reads on when it has some
        for piece in pages[head.split()[1].partition("?")[0]]:
            connection.sendall(piece)

    (tmp_path / "large.jpg").write_bytes(large)
    settings = {"allow_networks": "127.0.0.0/8", "image_memory_bytes": "128000000"}
    with (
        scripted_server(script) as server,
        WorkerProcess(redis_url, tmp_path, **settings) as worker,
    ):
        uploads = [client.upload(large + bytes([n]), keep=True) for n in range(3)]
        places = [
            (
                server.url(f"/large.jpg?{n}"),
                server.url(f"/unknown.jpg?{n}"),
                linked(tmp_path / "large.jpg", n),
                uploads[n % 3],
                server.url(f"/small.jpg?{n}"),
            )
            for n in range(15)
        ]
        uris = [uri for several in places for uri in several]
        assert ends(client, [server.url("/small.jpg")]) == ["ok"]
        peak = Peak(worker.pid)
        # when
        reported = ends(client, uris)
        # then
        assert reported == ["ok"] * len(uris)
        assert peak.own_growth_bytes() < 300 * MB
        assert peak.growth_bytes() < 500 * MB  # of 1,200
        assert "ERROR" not in worker.log


def test_decodes_that_take_more_than_there_is_go_on_one_after_the_other(
    redis_url, tmp_path, client
):
    # given images of 36 million pixels, which take 144 MB each, and four processes
    Image.new("RGB", (6000, 6000), "red").save(tmp_path / "many_pixels.png", compress_level=1)
    (tmp_path / "small.jpg").write_bytes(jpeg())
    uris = [
        linked(tmp_path / name, n) for n in range(8) for name in ("many_pixels.png", "small.jpg")
    ]
    with WorkerProcess(
        redis_url, tmp_path, preparation_processes="4", image_memory_bytes="400000000"
    ) as worker:
        assert ends(client, uris[1:2]) == ["ok"]
        peak = Peak(worker.pid)
        # when
        reported = ends(client, uris)
        # then
        assert reported == ["ok"] * 16
        assert peak.own_growth_bytes() < 300 * MB
        assert peak.growth_bytes() < 500 * MB  # of 1,200
