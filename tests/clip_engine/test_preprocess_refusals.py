"""Images that are refused: no images, cut off, or with too many pixels."""

from __future__ import annotations

import io
import struct
from typing import Any

import pytest
from PIL import Image
from support.hostile_images import png_chunk
from support.image_files import encoded
from support.image_zoo import photo

from clip_engine.errors import ImageError
from clip_engine.images.transform import ImageTransform
from clip_engine.preprocess import Mode, Preprocessor

FAST = Preprocessor(ImageTransform(224), "fast")


def refusal(data: bytes | Image.Image, preprocessor: Preprocessor = FAST) -> ImageError:
    prepare: Any = preprocessor.from_bytes if isinstance(data, bytes) else preprocessor.from_image
    with pytest.raises(ImageError) as caught:
        prepare(data)
    assert "\n" not in caught.value.message
    assert caught.value.message.endswith(".")
    return caught.value


def test_no_bytes_are_an_empty_picture() -> None:
    assert refusal(b"").code == "EMPTY_IMAGE"


@pytest.mark.parametrize(
    "data",
    [
        *(b"<!DOCTYPE html><html>404</html>", b"\0" * 4096, b"%PDF-1.4", b"\xff\xd8", b"RIFF"),
        # formats with interpreters or few users
        *(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"II\xbc\1"),
    ],
)
def test_what_is_no_picture_is_quoted_with_its_beginning(data: bytes) -> None:
    error = refusal(data)
    assert error.code == "DECODE_UNRECOGNIZED"
    assert repr(data[:12]) in error.message


# --- cut off ---


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM"])
@pytest.mark.parametrize("share", [0.001, 0.02, 0.1, 0.3, 0.5, 0.9])
def test_a_picture_that_is_cut_off_is_refused_with_a_decoding_code(kind: str, share: float) -> None:
    data = encoded(photo((320, 240), seed=9), kind)
    assert refusal(data[: int(len(data) * share)]).code.startswith("DECODE_")


@pytest.mark.parametrize(
    ("kind", "share"), [("JPEG", 0.5), ("PNG", 0.5), ("TIFF", 0.5), ("progressive JPEG", 0.75)]
)
def test_a_picture_cut_off_in_its_pixels_is_called_truncated(kind: str, share: float) -> None:
    options = {"progressive": True} if kind.startswith("progressive") else {}
    data = encoded(photo((320, 240), seed=9), kind.rsplit(maxsplit=1)[-1], **options)
    cut = data[: int(len(data) * share)]
    # whether its bytes are given, or the caller has opened it
    for error in (refusal(cut), refusal(Image.open(io.BytesIO(cut)))):
        assert error.code == "DECODE_TRUNCATED"
        assert "give the whole file" in error.message


# --- too many pixels ---


@pytest.mark.parametrize("size", [(9_000, 9_943), (40_000, 40_000), (1, 2**31 - 1)])
def test_too_many_pixels_are_refused_by_the_header_alone(size: tuple[int, int]) -> None:
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", *size, 8, 2, 0, 0, 0))
    data = b"\x89PNG\r\n\x1a\n" + header + png_chunk(b"IDAT")
    assert refusal(data).code == "TOO_MANY_PIXELS"


def test_the_limit_on_pixels_is_the_one_that_was_given_and_is_named() -> None:
    data = encoded(Image.new("RGB", (101, 100)))
    error = refusal(data, Preprocessor(ImageTransform(32), max_pixels=10_000))
    assert error.code == "TOO_MANY_PIXELS"
    assert "101x100" in error.message
    assert "10000" in error.message
    assert Preprocessor(ImageTransform(32), max_pixels=10_100).from_bytes(data).shape == (3, 32, 32)


def test_the_limit_holds_for_the_size_before_a_scaled_decode() -> None:
    data = encoded(photo((1920, 1280), seed=1920), quality=90)
    error = refusal(data, Preprocessor(ImageTransform(32), "fast", max_pixels=1920 * 1279))
    assert error.code == "TOO_MANY_PIXELS"


@pytest.mark.parametrize("mode", ["exact", "fast"])
def test_the_thinnest_jpeg_there_is_takes_no_gigabytes(mode: Mode) -> None:
    # given a strip whose resized self would have 224 x 14,679,840 pixels, 10 GB
    data = encoded(Image.new("RGB", (1, 65_500), (200, 30, 90)))
    # then
    assert Preprocessor(ImageTransform(224), mode).from_bytes(data).float().mean(
        dim=(1, 2)
    ).tolist() == (pytest.approx([200, 30, 90], abs=3))
