"""Pictures that used to take a worker's time or memory, all at once, on processes as shipped."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable

import pytest
from PIL import Image
from support.hostile_images import bmp, jpeg_of_scans, tiff_with_tile
from support.image_zoo import photo
from support.preparing import Bench, running, settings, status

MB = 1_000_000
BUDGET = 3000 * MB
REFUSED = {
    "20,000 scans": lambda: jpeg_of_scans(20_000, 9000),
    "RLE": lambda: bmp(9000, 9000, bytes(40_000), 1),
    "PPM of fill bytes": lambda: b"P6 1 1" + b" " * 60 * MB,
    "JPEG of fill bytes": lambda: b"\xff\xd8" + b"\xff" * 60 * MB,
    "15 million segments": lambda: b"\xff\xd8" + b"\xff\xfe\0\x02" * 15 * MB,
    "GIF of comments": lambda: b"GIF89a\x01\0\x01\0\0\0\0" + b"!\xfe\x01a\0" * 12 * MB,
    "a tile for one pixel": lambda: tiff_with_tile(46_336),
}
LARGE: dict[str, Callable[[], bytes]] = {
    "lossless WebP": lambda: encoded(Image.new("RGB", (9400, 9400), "teal"), "WEBP", lossless=True),
    "float TIFF": lambda: encoded(
        Image.new("F", (9400, 9400), 0.5), "TIFF", compression="tiff_deflate"
    ),
    "PNG": lambda: encoded(Image.new("RGB", (9400, 9400), "teal"), "PNG", compress_level=1),
    "scans": lambda: jpeg_of_scans(200, 9000),
}


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def resident_bytes(bench: Bench, field: str) -> dict[int, int]:
    return {pid: 1024 * int(status(pid)[field].split()[0]) for pid in bench.pids()}


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells of memory")
def test_each_is_refused_or_answered_and_neighbours_and_memory_are_not_touched() -> None:
    hostile = [make() for make in (*REFUSED.values(), *LARGE.values())]
    small = encoded(photo((64, 48), 1), "JPEG")
    with running(settings(resolution=224, slots=256, memory_bytes=BUDGET)) as bench:
        bench.wait(bench.submit(small))
        usual = max(resident_bytes(bench, "VmRSS").values())
        # when all of them come at once, and others after them, one by one
        keys = bench.submit(*hostile, first=100)
        neighbours = 0
        while not {*keys} <= {*bench.outcomes}:
            assert bench.codes(bench.submit(small, first=1000 + neighbours)) == [None]
            neighbours += 1
        # then
        assert bench.codes(keys[: len(REFUSED)]) == [
            "TOO_MANY_PIXELS" if name == "RLE" else "DECODE_TOO_EXPENSIVE" for name in REFUSED
        ]
        assert bench.codes(keys[len(REFUSED) :]) == [None] * len(LARGE)
        # and others were answered while the large ones were decoded, by the same processes
        assert neighbours > 20
        assert bench.pool.stats()["restarts"] == 0
        peaks = resident_bytes(bench, "VmHWM").values()
        assert sum(max(0, peak - usual) for peak in peaks) < BUDGET
