"""What it takes to decode an image, as estimated from its header and as measured."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.image_files import encoded, oriented

from clip_engine.errors import ImageError
from clip_engine.images.decoding_memory import decoding_bytes
from clip_engine.images.transform import ImageTransform
from clip_engine.preprocess import Preprocessor

SIZE = (3000, 2500)
PIXELS = SIZE[0] * SIZE[1]
SLACK = 8_000_000  # bytes: buffers, and what the C library rounds up

MEASURED = {
    "warm.jpg": ("RGB", {"quality": 90}),
    "rgb.jpg": ("RGB", {"quality": 90}),
    "cmyk.jpg": ("CMYK", {"quality": 90}),
    "progressive.jpg": ("RGB", {"quality": 90, "progressive": True}),
    "progressive444.jpg": ("RGB", {"quality": 80, "progressive": True, "subsampling": 0}),
    "rgb.png": ("RGB", {}),
    "rgba.png": ("RGBA", {}),
    "la.png": ("LA", {}),
    "grey.png": ("L", {}),
    "palette.png": ("P", {}),
    "holes.png": ("P", {"transparency": 0}),
    "bits.png": ("1", {}),
    "deep.png": ("I;16", {}),
    "wide.tif": ("I", {}),
    "float.tif": ("F", {}),
    "rgb.webp": ("RGB", {"quality": 80, "method": 0}),
    "rgb.avif": ("RGB", {"quality": 60, "speed": 10}),
    "frame.gif": ("P", {}),
}


def picture(mode: str) -> Image.Image:
    rng = np.random.default_rng(7)
    tile = rng.integers(0, 30, (50, 50, 3), dtype=np.uint8)
    image = Image.fromarray(np.tile(tile, (SIZE[1] // 50, SIZE[0] // 50, 1)))
    if mode == "I;16":
        return Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    return image.convert(mode)


@pytest.mark.slow
@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="no peak to measure")
@pytest.mark.parametrize("mode", ["fast", "exact"])
def test_the_estimate_is_about_what_decoding_takes(tmp_path: Path, mode: str) -> None:
    files = []
    for name, (pixels, options) in MEASURED.items():
        files.append(tmp_path / name)
        picture(pixels).save(files[-1], **options)
    # when one process decodes them in turn, returning freed memory at once
    script = Path(__file__).parents[1] / "support" / "decoding_peak.py"
    printed = subprocess.run(
        [sys.executable, str(script), mode, *map(str, files)],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"},
    ).stdout
    # then
    lines = [map(int, line.split()) for line in printed.splitlines()]
    for (name, _), (estimate, measured) in zip(MEASURED.items(), lines, strict=True):
        assert measured <= 1.1 * estimate + SLACK, (name, estimate, measured)
        assert estimate <= 2 * measured + SLACK, (name, estimate, measured)


def estimate_of(data: bytes, mode: str = "fast", side: int = 224) -> int:
    estimates: list[int] = []

    def refuse(size_bytes: int) -> None:
        estimates.append(size_bytes)
        raise MemoryError

    with pytest.raises(MemoryError):
        Preprocessor(ImageTransform(side), mode).from_bytes(data, refuse)  # type: ignore[arg-type]
    return estimates[0]


def test_a_jpeg_that_is_scaled_while_it_is_decoded_takes_little() -> None:
    data = encoded(Image.new("RGB", (4000, 4000)), "JPEG")
    assert estimate_of(data) < 4_000_000
    assert estimate_of(data, "exact") >= 4 * 16_000_000


def test_a_progressive_jpeg_takes_its_coefficients_however_far_it_is_scaled() -> None:
    data = encoded(Image.new("RGB", (4000, 4000)), "JPEG", progressive=True, subsampling=0)
    assert estimate_of(data) >= 6 * 16_000_000


def test_a_jpeg_whose_components_come_in_scans_of_their_own_is_taken_for_progressive() -> None:
    # given a header that announces one component in its first scan
    data = encoded(Image.new("RGB", (4000, 4000)), "JPEG", subsampling=0)
    begin = data.index(b"\xff\xda\x00\x0c\x03")
    lone = b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00"
    scans = data[:begin] + lone + data[begin + 14 :]
    assert estimate_of(scans) >= 6 * 16_000_000


def test_a_strip_that_the_reference_makes_huge_counts_as_what_it_becomes() -> None:
    data = encoded(Image.new("RGB", (10, 16_000)), "PNG")
    assert estimate_of(data, "exact") >= 4 * 224 * 16_000 * 22
    assert estimate_of(data) < 2_000_000


def test_a_picture_that_is_turned_is_there_twice() -> None:
    image = Image.new("RGB", (1000, 1000))
    turned = Image.open(io.BytesIO(encoded(image, "PNG", exif=oriented(6))))
    straight = Image.open(io.BytesIO(encoded(image, "PNG")))
    assert decoding_bytes(turned, turned.size, turned=True) == 8_000_000
    assert decoding_bytes(straight, straight.size, turned=True) == 4_000_000


@pytest.mark.parametrize(
    "error", [MemoryError(), OSError("out of memory"), RuntimeError("can't allocate memory: 8 GB")]
)
def test_that_memory_ran_out_is_not_the_pictures_fault(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(Preprocessor, "_prepare", fail)
    with pytest.raises(MemoryError):
        Preprocessor(ImageTransform(32)).from_bytes(encoded(Image.new("RGB", (40, 40)), "PNG"))


def test_who_reserves_may_refuse_the_picture() -> None:
    def refuse(_: int) -> None:
        raise ImageError("It is too large.", "TOO_MANY_PIXELS")

    with pytest.raises(ImageError) as caught:
        Preprocessor(ImageTransform(32)).from_bytes(
            encoded(Image.new("RGB", (40, 40)), "PNG"), refuse
        )
    assert caught.value.code == "TOO_MANY_PIXELS"


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize(
    "options",
    [{}, {"lossless": True}, {"save_all": True, "append_images": [Image.new("L", (70, 50))]}],
)
def test_a_webps_canvas_is_reserved_before_it_is_opened(mode: str, options: dict[str, Any]) -> None:
    reserved: list[int] = []
    data = encoded(Image.new(mode, (70, 50), "teal"), "WEBP", **options)
    Preprocessor(ImageTransform(32)).from_bytes(data, reserved.append)
    assert reserved[0] == 8 * 70 * 50
    assert reserved[0] < reserved[1]
