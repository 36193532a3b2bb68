"""Large images that meet the limits of memory: of files that were fetched, and of decoding."""

from __future__ import annotations

import socket
import sys
import threading
from pathlib import Path

import pytest
from PIL import Image
from support.hostile_images import encoded
from support.image_zoo import photo
from support.preparing import Bench, running, settings, status
from support.scripted_server import response, scripted_server
from support.waiting import LIMIT_S, wait_until

from worker.preparation import launcher
from worker.sources import FetchLimits, FetchPolicy

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc tells of memory")

MB = 1_000_000
SMALL = encoded(photo((64, 48), 1), "JPEG")


def peak_bytes(bench: Bench) -> int:
    """The most memory that one of the preparation processes has had."""
    return max(1024 * int(status(pid)["VmHWM"].split()[0]) for pid in bench.pids()[1:])


def padded(data: bytes, size: int) -> bytes:
    """A JPEG that is made larger by what decoders skip: what follows its end."""
    return data + bytes(size - len(data))


def test_files_beyond_the_memory_for_fetches_wait_for_each_other(tmp_path: Path) -> None:
    # given 60 files of 20 MB, of which each process may hold 4 MB, or one
    (tmp_path / "large.jpg").write_bytes(padded(SMALL, 20 * MB))
    uri = (tmp_path / "large.jpg").as_uri()
    policy = FetchPolicy(file_roots=(tmp_path,))
    limits = FetchLimits(max_bytes=32 * MB)
    with running(settings(policy=policy, limits=limits, memory_bytes=64 * MB)) as bench:
        bench.wait(bench.submit(SMALL))
        before = peak_bytes(bench)
        # when
        keys = bench.submit(*[uri] * 60, SMALL, first=100)
        # then all are answered, and no process has had more than two or three of them at a time
        assert bench.codes(keys) == [None] * 61
        assert peak_bytes(bench) - before < 70 * MB
        assert bench.pool.stats()["restarts"] == 0


def test_the_pool_is_full_while_files_wait_for_memory() -> None:
    # given a server that announces 6 MB each time, of which a process may hold 8, and is slow
    served = threading.Event()

    def script(_head: str, connection: socket.socket) -> None:
        head, _, body = response(padded(SMALL, 6 * MB)).partition(b"\r\n\r\n")
        connection.sendall(head + b"\r\n\r\n")
        assert served.wait(LIMIT_S)
        connection.sendall(body)

    policy = FetchPolicy(allow_private=True)
    with (
        scripted_server(script) as server,
        running(settings(policy=policy, memory_bytes=64 * MB, processes=1)) as bench,
    ):
        assert not bench.pool.is_full
        # when
        keys = bench.submit(*[server.url()] * 3)
        # then no more is to be taken, until they are prepared
        wait_until(lambda: bench.pool.is_full)
        served.set()
        assert bench.codes(keys) == [None] * 3
        assert not bench.pool.is_full


def test_a_decode_that_takes_more_than_was_estimated_is_too_expensive_and_not_broken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # given processes whose estimates are far too low
    boot = launcher._BOOT.replace("\nfrom", "\nimport support.no_estimate\nfrom")
    monkeypatch.setattr(launcher, "_BOOT", boot)
    large = Image.new("RGB", (5000, 5000), "teal")
    images = [
        encoded(large, "WEBP", lossless=True, method=0),
        encoded(large, "AVIF", speed=10),
        encoded(large, "JPEG", progressive=True, subsampling=0),
        encoded(large, "PNG"),
        encoded(large, "TIFF", compression="tiff_deflate"),
    ]
    limits = FetchLimits(max_bytes=4 * MB)
    with running(settings(memory_bytes=64 * MB, limits=limits)) as bench:
        # when
        keys = bench.submit(*images, SMALL)
        # then
        assert bench.codes(keys) == ["DECODE_TOO_EXPENSIVE"] * len(images) + [None]
        # and a file that is broken is still called that
        sound = encoded(photo((640, 480), 2), "WEBP", lossless=True)
        broken = sound[:400] + bytes(400) + sound[800:]
        assert bench.codes(bench.submit(broken, first=100)) == ["DECODE_BROKEN"]
        assert bench.pool.stats()["restarts"] == 0
