"""What `Client.upload` stores in Redis, and what it rejects before anything is sent."""

from __future__ import annotations

import builtins
import io
import os
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image, ImageOps
from support.failure import failure_of

from clip_worker import Client
from clip_worker.client import shrinking
from clip_worker.client.image_file import REDIS_MAX_BYTES
from clip_worker.client.shrinking import shrink
from clip_worker.errors import ImageUnavailableError
from clip_worker.redis.uploads import UploadStore
from worker.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable


def stored(client: Client, uri: str) -> bytes:
    return UploadStore(client._redis).get(uri)  # the Redis of the test


def test_equal_bytes_are_stored_once_and_each_upload_has_a_claim_of_its_own(client, tmp_path):
    (tmp_path / "cat.jpg").write_bytes(b"picture")
    all_data = (tmp_path / "cat.jpg", b"picture", bytearray(b"picture"), memoryview(b"picture"))

    uris = [client.upload(data) for data in all_data]

    assert len({uri.partition("#")[0] for uri in uris}) == 1
    assert len({uri.partition("#")[2] for uri in uris}) == 4
    assert {stored(client, uri) for uri in uris} == {b"picture"}


def test_a_file_that_cannot_be_uploaded_is_named(client, tmp_path):
    with (tmp_path / "huge.jpg").open("wb") as file:
        file.truncate(REDIS_MAX_BYTES + 1)  # sparse
    for path, code, reason in (
        (tmp_path / "cat.jpg", "READ_FAILED", "No such file"),
        (tmp_path, "READ_FAILED", "Is a directory"),
        (tmp_path / "huge.jpg", "FETCH_TOO_LARGE", "has 536870912 bytes"),
    ):
        error = failure_of(client.upload, path)
        assert (type(error), error.code) == (ImageUnavailableError, code)
        assert path.name in error.message
        assert reason in error.message


@pytest.mark.parametrize(
    ("data", "code", "words"),
    [
        ("cat.jpg", "BAD_UPLOAD", "or Path('cat.jpg') to upload that file"),
        (io.BytesIO(b"picture"), "BAD_UPLOAD", "an object of type BytesIO; pass the bytes"),
        (np.zeros((9, 9, 3)), "BAD_UPLOAD", "an object of type ndarray; pass the bytes"),
        (None, "BAD_UPLOAD", "The upload is None; pass the bytes of an image file"),
        (b"", "EMPTY_UPLOAD", "0 bytes"),
        (Path("a\0b"), "READ_FAILED", "can't be read"),
    ],
)
def test_an_upload_that_is_neither_bytes_nor_a_path_is_rejected(client, data, code, words):
    error = failure_of(client.upload, data)
    assert error.code == code
    assert words in error.message


@pytest.mark.parametrize("ttl_s", [0, -1, float("nan"), float("inf")])
def test_an_upload_needs_a_finite_lifetime(client, ttl_s):
    assert "ttl_s is" in failure_of(client.upload, b"picture", ttl_s=ttl_s).message


# --- size ---


@pytest.fixture
def small_client(client: Client, monkeypatch: pytest.MonkeyPatch) -> Client:
    monkeypatch.setattr(client, "_max_upload_bytes", 10)
    return client


def test_what_is_larger_than_the_clients_bound_is_not_sent(small_client, tmp_path):
    for name, size in (("fits.jpg", 10), ("large.jpg", 11)):
        (tmp_path / name).write_bytes(bytes(size))

    assert stored(small_client, small_client.upload(tmp_path / "fits.jpg")) == bytes(10)
    for data in (tmp_path / "large.jpg", bytes(11), memoryview(bytes(16)).cast("i")):
        error = failure_of(small_client.upload, data)
        assert (type(error), error.code) == (ImageUnavailableError, "FETCH_TOO_LARGE")
        assert "sends at most 10 (max_upload_bytes)" in error.message
        assert "(CLIP_WORKER_MAX_BYTES)" in error.message


def test_of_a_pipe_no_more_is_read_than_the_bound(small_client, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    end = os.open(tmp_path / "pipe", os.O_RDWR)  # it never ends
    try:
        os.write(end, bytes(100))
        assert failure_of(small_client.upload, tmp_path / "pipe").code == "FETCH_TOO_LARGE"
    finally:
        os.close(end)


def test_the_bound_is_the_workers_by_default_and_at_most_what_redis_stores():
    assert Client()._max_upload_bytes == Settings().max_bytes
    for wrong in (0, -1, REDIS_MAX_BYTES + 1):
        assert f"max_upload_bytes is {wrong}" in failure_of(Client, max_upload_bytes=wrong).message


# --- shrink_to ---


def encode(image: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def picture(width: int, height: int, mode: str = "RGB") -> Image.Image:
    """Red to the left, blue to the right, brighter downwards."""
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    rgb = np.stack([255 - x, y, x], axis=-1).astype(np.uint8)
    return Image.fromarray(rgb).convert(mode)


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def difference(image: Image.Image, other: Image.Image) -> float:
    """The mean difference of two images' levels."""
    both = [np.asarray(each.convert("RGB").resize((64, 64)), float) for each in (image, other)]
    return float(np.abs(both[0] - both[1]).mean())


@pytest.mark.parametrize(
    ("size", "kind", "mode", "shrunk", "then"),
    [
        ((1200, 800), "JPEG", "RGB", (300, 200), "JPEG"),
        ((800, 1201), "JPEG", "L", (200, 300), "JPEG"),
        ((400, 4000), "JPEG", "CMYK", (200, 2000), "JPEG"),
        ((640, 400), "PNG", "RGB", (320, 200), "JPEG"),
        ((640, 400), "PNG", "P", (320, 200), "JPEG"),
        ((640, 400), "PNG", "RGBA", (320, 200), "PNG"),
        ((640, 400), "WEBP", "RGBA", (320, 200), "PNG"),
        ((640, 400), "GIF", "RGB", (320, 200), "JPEG"),
        ((640, 400), "TIFF", "1", (320, 200), "JPEG"),
    ],
)
def test_a_large_image_is_made_smaller_and_looks_the_same(size, kind, mode, shrunk, then):
    image = picture(*size, mode)
    if mode == "RGBA":
        image.putalpha(Image.linear_gradient("L").resize(size))

    small = opened(shrink(encode(image, kind), 200))

    assert (small.format, small.size) == (then, shrunk)
    assert small.has_transparency_data == (then == "PNG")
    if mode != "1":  # of dots
        assert difference(small, image) < 6


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_photo_is_sent_upright_without_its_metadata(orientation):
    photo = picture(600, 400)
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = orientation, "A camera"
    data = encode(photo, exif=exif)

    small = opened(shrink(data, 100))

    upright = ImageOps.exif_transpose(opened(data))
    assert small.size == ((100, 150) if orientation > 4 else (150, 100))
    assert not small.getexif()
    assert difference(small, upright) < 6


@pytest.mark.parametrize(
    "data",
    [
        encode(picture(300, 200), "PNG"),
        encode(picture(2000, 200)),
        encode(Image.fromarray(np.full((400, 400), 40_000, np.uint16)), "PNG"),  # 16 bits
    ],
)
def test_what_is_small_enough_or_has_more_bits_is_sent_as_it_is(data):
    assert shrink(data, 200) is data


def test_a_client_uploads_what_was_made_smaller(client):
    data = encode(picture(600, 400))

    uri = client.upload(data, shrink_to=100)

    assert opened(stored(client, uri)).size == (150, 100)


def huge() -> bytes:
    """A PNG that says it has 40,000 x 40,000 pixels; Pillow itself refuses it."""
    data = bytearray(encode(picture(1, 1), "PNG"))
    data[16:24] = (40_000).to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    return bytes(data)


def without_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def fail(name: str, *args: Any) -> Any:
        if name == "PIL":
            raise ModuleNotFoundError(name)
        return real(name, *args)

    monkeypatch.setattr(builtins, "__import__", fail)


def with_few_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shrinking, "MOST_PIXELS", 100_000)


@pytest.mark.parametrize(
    ("data", "shortest", "given", "code", "words"),
    [
        (b"a text", 9, None, "DECODE_BROKEN", "Pillow can't decode it (UnidentifiedImageError)"),
        (encode(picture(600, 400))[:900], 9, None, "DECODE_BROKEN", "pass the bytes of an image"),
        (huge(), 9, None, "TOO_MANY_PIXELS", "more than 89478485 pixels"),
        (encode(picture(600, 400)), 9, with_few_pixels, "TOO_MANY_PIXELS", "more than 100000"),
        (encode(picture(600, 400)), 0, None, "BAD_SHRINK", "shrink_to is 0; pass a number of"),
        (encode(picture(600, 400)), 9.5, None, "BAD_SHRINK", "shrink_to is 9.5"),
        (encode(picture(600, 400)), True, None, "BAD_SHRINK", "shrink_to is True"),
        (encode(picture(600, 400)), 9, without_pillow, "NO_PILLOW", "`pip install pillow`"),
    ],
)
def test_what_cannot_be_made_smaller_is_an_error_of_one_sentence(
    client: Client,
    monkeypatch: pytest.MonkeyPatch,
    data: bytes,
    shortest: Any,
    given: Callable[[pytest.MonkeyPatch], None] | None,
    code: str,
    words: str,
) -> None:
    if given:
        given(monkeypatch)
    error = failure_of(client.upload, data, shrink_to=shortest)
    assert error.code == code
    assert words in error.message
