"""Files that would cost a decoder far too much are refused by their structure, at once."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest
from support import image_files
from support.hostile_images import (
    bmp,
    ico,
    jpeg_of_scans,
    png_chunk,
    png_of_chunks,
    segment,
    tiff,
    tiff_with_tile,
)
from support.image_zoo import photo

from clip_engine.errors import ImageError
from clip_engine.image_checks import check_image_file
from clip_engine.images.transform import ImageTransform
from clip_engine.preprocess import FORMATS, Preprocessor

MB = 1_000_000
WEBP = b"RIFF\0\0\0\0WEBP"
GIF = b"GIF89a\x01\0\x01\0\0\0\0"


def encoded(
    kind: str, size: tuple[int, int] = (60, 40), mode: str = "RGB", **options: object
) -> bytes:
    return image_files.encoded(photo(size, 3).convert(mode), kind, **options)


def with_comments(count: int, size: int = 0) -> bytes:
    data = encoded("JPEG")
    return data[:2] + segment(0xFE, bytes(size)) * count + data[2:]


HOSTILE: dict[str, Callable[[], bytes]] = {
    "20,000 scans": lambda: jpeg_of_scans(20_000, 9000),
    "900 scans of 81 million pixels": lambda: jpeg_of_scans(900, 9000),
    "15 million segments": lambda: b"\xff\xd8" + b"\xff\xfe\0\x02" * 15 * MB,
    "60 MB of fill bytes": lambda: b"\xff\xd8" + b"\xff" * 60 * MB,
    "60 MB of bytes between segments": lambda: b"\xff\xd8\xff\xfe\0\x02" + bytes(60 * MB),
    "60 MB of restart markers": lambda: b"\xff\xd8" + b"\xff\xd0" * 30 * MB,
    "60 MB of JPEG comments": lambda: with_comments(1000, 60_000),
    "RLE8 of ends of lines": lambda: bmp(9000, 9000, bytes(40_000), 1),
    "RLE4 of ends of lines": lambda: bmp(9000, -9000, bytes(40_000), 2),
    "PPM of comments": lambda: b"P6\n" + b"#\n" * 30 * MB,
    "PPM of one comment": lambda: b"P6 1 #" + b" " * 60 * MB,
    "PPM of blanks": lambda: b"P5 1 1" + b" " * 60 * MB,
    "comments among pixels": lambda: b"P2 1000 1000 255\n" + b"#\n" * 30 * MB,
    "pixels as text": lambda: b"P3 4000 4000 255\n" + b"7 " * 30 * MB,
    "levels up to 254": lambda: b"P6 4000 4000 254\n" + bytes(48 * MB),
    "GIF of comments": lambda: GIF + b"!\xfe\x01a\0" * 12 * MB,
    "GIF of one long comment": lambda: GIF + b"!\xfe" + b"\x01a" * 30 * MB,
    "GIF of bytes between blocks": lambda: GIF + bytes(60 * MB),
    "a tile for one pixel": lambda: tiff_with_tile(46_336),
    "a tile for one pixel, BigTIFF": lambda: tiff_with_tile(46_336, big=True),
    "strips without end": lambda: tiff({273: (4, 15 * MB, 8)}, bytes(60 * MB)),
    "a TIFF's metadata": lambda: tiff({700: (1, 60 * MB, 8)}, bytes(60 * MB)),
    "PNG chunks": lambda: png_of_chunks(png_chunk(b"teSt") * 100_000),
    "a PNG's metadata": lambda: png_of_chunks(png_chunk(b"teSt", bytes(20 * MB))),
    "a WebP's metadata": lambda: WEBP + b"EXIF" + struct.pack("<I", 20 * MB) + bytes(20 * MB),
    "WebP chunks": lambda: WEBP + b"EXIF\0\0\0\0" * 100_000,
    "PNG in ICO": lambda: ico(encoded("PNG", (1100, 1000))),
    "BMP in ICO": lambda: ico(bmp(4000, 8000, b"", 1)[14:]),
    "images in ICO": lambda: struct.pack("<HHH", 0, 1, 9999)
    + b"".join(struct.pack("<12xI", n) for n in range(9999)),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_before_any_decoder_has_it(name: str) -> None:
    data = HOSTILE[name]()
    assert len(data) <= 64 * MB
    with pytest.raises(ImageError) as caught:
        check_image_file(data)
    assert caught.value.code in ("DECODE_TOO_EXPENSIVE", "TOO_MANY_PIXELS")


def test_sound_files_pass() -> None:
    files = [encoded(kind) for kind in FORMATS if kind != "ICO"]
    files += [encoded("ICO", (256, 256)), encoded("PPM", mode="1"), encoded("PPM", mode="L")]
    files += [encoded("JPEG", (3000, 2000), progressive=True), encoded("TIFF", (2000, 1500))]
    files += [with_comments(1000, 5000), jpeg_of_scans(990, 300), b"P3 2 1 9 1 2 3 4 5 6"]
    files += [b"P6 2 1 # two\n254\n" + bytes(6), encoded("TIFF", compression="tiff_deflate")]
    for data in files:
        check_image_file(data)
        assert Preprocessor(ImageTransform(16)).from_bytes(data).shape == (3, 16, 16)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_file_that_is_cut_off_or_changed_anywhere_is_the_decoders_business(
    kind: str,
) -> None:
    data = encoded(kind, (64, 64))
    for end in range(min(len(data), 400)):
        check_image_file(data[:end])
    for position in range(12, min(len(data), 200)):
        for value in (0, 1, 255):
            changed = bytearray(data)
            changed[position] = value
            try:
                check_image_file(bytes(changed))
            except ImageError as error:
                assert error.code in ("DECODE_TOO_EXPENSIVE", "TOO_MANY_PIXELS")  # noqa: PT017


def test_a_picture_in_an_ico_may_be_larger_than_the_icon() -> None:
    check_image_file(ico(encoded("PNG", (512, 512))))


def test_what_follows_the_only_scan_of_a_jpeg_does_not_count() -> None:
    check_image_file(encoded("JPEG") + b"\xff\xda" * 5000)
    with pytest.raises(ImageError):
        check_image_file(encoded("JPEG", progressive=True) + b"\xff\xda" * 5000)


def test_large_bmps_without_encoding_pass() -> None:
    check_image_file(bmp(9000, 9000, b"", 0))


def test_formats_that_are_not_accepted_are_not_recognised() -> None:
    only_png = Preprocessor(ImageTransform(16), formats=("PNG",))
    assert only_png.from_bytes(encoded("PNG")).shape == (3, 16, 16)
    with pytest.raises(ImageError, match="give one of PNG") as caught:
        only_png.from_bytes(encoded("JPEG"))
    assert caught.value.code == "DECODE_UNRECOGNIZED"
