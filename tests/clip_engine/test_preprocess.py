"""Decoding and resizing against torchvision's own preprocessing, on images of every kind."""

from __future__ import annotations

import io
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image, ImageOps
from support.image_zoo import photo, write_zoo
from torchvision import transforms

from clip_engine.errors import ImageError
from clip_engine.preprocess import Mode, Preprocessor

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

R = 224
EXACT, FAST = Preprocessor(R, "exact"), Preprocessor(R, "fast")
MODES: tuple[Mode, ...] = ("exact", "fast")


def encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def reference(image: Image.Image) -> Tensor:
    """What the CLIP paper's code makes of an image, before its mean is taken out: in [0, 1]."""
    compose = transforms.Compose(
        [
            transforms.Resize(R, transforms.InterpolationMode.BICUBIC),
            transforms.CenterCrop(R),
            lambda picture: picture.convert("RGB"),
            transforms.ToTensor(),
        ]
    )
    return compose(image)


def levels_off(pixels: Tensor, image: Image.Image) -> Tensor:
    """Absolute difference to the reference, in 1/255."""
    return (pixels.float() - reference(image) * 255).abs()


def rgb(size: tuple[int, int], colour: tuple[int, int, int] = (200, 30, 90)) -> Image.Image:
    return Image.new("RGB", size, colour)


@cache
def photo_jpeg(width: int, height: int) -> bytes:
    return encode(photo((width, height), seed=width), "JPEG", quality=90)


# --- against the reference ---


def test_exact_mode_is_the_reference_on_every_picture_of_the_zoo(tmp_path: Path) -> None:
    # given images of 9 formats whose modes the reference resamples as we do
    paths = [path for path in write_zoo(tmp_path, 27, seed=5) if "palette" not in path.name]
    for path in paths:
        data = path.read_bytes()
        image = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
        if image.mode.startswith("I;16") or image.mode == "P":
            continue
        # when
        pixels = EXACT.from_bytes(data)
        # then
        assert levels_off(pixels, image).max() == 0, path.name


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "LA", "CMYK"])
@pytest.mark.parametrize(
    "size", [(224, 224), (225, 224), (223, 500), (500, 375), (7, 9), (1, 1), (448, 447)]
)
def test_exact_mode_is_the_reference_in_every_colour_mode(mode: str, size: tuple[int, int]) -> None:
    image = photo(size, seed=1).convert(mode)
    if mode in ("RGBA", "LA"):
        image.putalpha(photo(size, seed=2).convert("L"))
    assert levels_off(EXACT.from_image(image), image).max() == 0


@pytest.mark.parametrize("size", [(1, 500), (500, 1), (2000, 3), (3, 2000), (1, 1)])
@pytest.mark.parametrize("mode", MODES)
def test_strips_come_out_as_the_reference_has_them(size: tuple[int, int], mode: Mode) -> None:
    image = photo(size, seed=3)
    off = levels_off(Preprocessor(R, mode).from_bytes(encode(image, "PNG")), image)
    assert off.mean() <= (0 if mode == "exact" else 0.35)


@pytest.mark.parametrize(
    "size", [(320, 240), (500, 375), (375, 500), (449, 448), (1920, 1280), (4000, 3000)]
)
def test_fast_mode_is_within_a_third_of_a_level_on_photographs(size: tuple[int, int]) -> None:
    data = photo_jpeg(*size)
    off = levels_off(FAST.from_bytes(data), Image.open(io.BytesIO(data)))
    assert off.mean() <= 0.35


def test_fast_mode_decodes_a_large_jpeg_at_a_fraction_of_its_size() -> None:
    # given an image whose fine grain a scaled decode averages before Pillow resamples
    grain = np.random.default_rng(0).integers(0, 256, (1800, 1800), dtype=np.uint8)
    data = encode(Image.fromarray(grain), "JPEG", quality=95)
    # then: had it decoded in full, the two modes would differ by rounding only
    difference = FAST.from_bytes(data).float() - EXACT.from_bytes(data).float()
    assert difference.abs().max() > 3


# --- orientation ---


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_a_rotated_picture_comes_out_upright(orientation: int, kind: str) -> None:
    # given an image with a red top left corner, stored turned
    upright = Image.new("RGB", (64, 48), (0, 0, 255))
    upright.paste((255, 0, 0), (0, 0, 24, 24))
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Pillow's transposes, inverted
    stored = upright if orientation == 1 else upright.transpose(undo[orientation])
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    # when
    pixels = Preprocessor(48, "exact").from_bytes(encode(stored, kind, exif=exif, **options))
    # then the corner is where it belongs: 8 columns of it are cropped away
    red = (pixels[0] > 128) & (pixels[2] < 128)
    assert red[:20, :12].all()
    assert not red[28:].any()
    assert not red[:, 20:].any()


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_unknown_orientation_counts_as_none(orientation: int) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    data = encode(photo((40, 30), seed=1), "PNG", exif=exif)
    assert torch.equal(FAST.from_bytes(data), FAST.from_image(photo((40, 30), seed=1)))


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # of what is broken
def test_a_rotated_picture_with_broken_metadata_is_rotated_all_the_same() -> None:
    # given a JPEG whose maker entry claims a type that its value isn't of
    image = photo((60, 40), seed=4)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    exif[ExifTags.Base.Make] = "Maker"
    good = encode(image, "JPEG", exif=exif, quality=95)
    entry = struct.pack(">HH", ExifTags.Base.Make, 2)
    assert (b"Exif\0\0MM" in good, good.count(entry)) == (True, 1)
    # when the type says "rational" instead of "text"
    bad = good.replace(entry, struct.pack(">HH", ExifTags.Base.Make, 5))
    # then
    assert torch.equal(FAST.from_bytes(bad), FAST.from_bytes(good))


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # of what is broken
def test_metadata_that_make_no_sense_at_all_count_as_none() -> None:
    image = photo((60, 40), seed=4)
    plain = encode(image, "JPEG", quality=95)
    bad = encode(image, "JPEG", quality=95, exif=b"Exif\0\0II*\0\xff\xff\xff\x7f")
    assert torch.equal(FAST.from_bytes(bad), FAST.from_bytes(plain))


# --- kinds of image ---


def ramp() -> np.ndarray[Any, np.dtype[np.uint16]]:
    return np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)


def wide_pictures() -> dict[str, bytes]:
    grey = ramp()
    return {
        "png": encode(Image.fromarray(grey), "PNG"),
        "tiff": encode(Image.fromarray(grey), "TIFF"),
        "tiff, 32 bits": encode(Image.fromarray(grey.astype(np.int32)), "TIFF"),
        "tiff, float": encode(Image.fromarray((grey / 65535).astype(np.float32)), "TIFF"),
        "pgm": b"P5 64 64 65535\n" + grey.astype(">u2").tobytes(),
        "big-endian tiff": encode(
            Image.frombytes("I;16B", (64, 64), grey.astype(">u2").tobytes()), "TIFF"
        ),
    }


@pytest.mark.parametrize("kind", wide_pictures())
def test_grey_of_more_than_8_bits_keeps_its_scale(kind: str) -> None:
    # given a ramp from black to white
    pixels = Preprocessor(64, "exact").from_bytes(wide_pictures()[kind])
    # then
    expected = torch.from_numpy((ramp() // 257).astype(np.float32))
    assert (pixels.float() - expected).abs().max() <= 1


def test_a_32_bit_picture_that_holds_8_bit_levels_is_taken_as_it_is() -> None:
    grey = (ramp() // 257).astype(np.int32)
    pixels = Preprocessor(64, "exact").from_bytes(encode(Image.fromarray(grey), "TIFF"))
    assert torch.equal(pixels[1], torch.from_numpy(grey.astype(np.uint8)))


def test_float_levels_that_are_no_numbers_become_black_or_white() -> None:
    grey = np.array([[np.nan, np.inf], [-np.inf, 0.5]], dtype=np.float32)
    pixels = Preprocessor(2, "exact").from_bytes(encode(Image.fromarray(grey), "TIFF"))
    assert pixels[0].tolist() == [[0, 255], [0, 0]]


def test_a_palette_is_resampled_as_colours_not_as_numbers() -> None:
    # given two colours, in stripes of one pixel, whose mean the reference would never give
    image = Image.new("P", (448, 448))
    image.putpalette([0, 0, 0, 255, 255, 255])
    image.putdata([x % 2 for _ in range(448) for x in range(448)])
    pixels = EXACT.from_bytes(encode(image, "PNG"))
    assert pixels[:, 8:-8, 8:-8].float().sub(127.5).abs().max() < 8


def test_a_palette_with_transparency_is_resampled_like_rgba() -> None:
    image = photo((90, 60), seed=2).quantize(32)
    data = encode(image, "PNG", transparency=3)
    rgba = Image.open(io.BytesIO(data)).convert("RGBA")
    assert torch.equal(EXACT.from_bytes(data), EXACT.from_image(rgba))


def test_one_bit_pictures_become_black_and_white() -> None:
    image = Image.new("1", (300, 300))
    image.paste(1, (150, 0, 300, 300))
    pixels = EXACT.from_bytes(encode(image, "PNG"))
    assert pixels[:, :, :100].max() == 0
    assert pixels[:, :, 124:].min() == 255


@pytest.mark.parametrize("kind", ["GIF", "WEBP"])
def test_of_an_animation_the_first_frame_counts(kind: str) -> None:
    frames = [rgb((50, 40), (250, 10, 10)), rgb((50, 40), (10, 10, 250))]
    data = encode(frames[0], kind, save_all=True, append_images=frames[1:], duration=50)
    red, green, blue = EXACT.from_bytes(data).float().mean(dim=(1, 2)).tolist()
    assert (red, green, blue) == pytest.approx((250, 10, 10), abs=4)


def test_an_mpo_of_a_stereo_camera_is_read_as_jpeg() -> None:
    left, right = photo((80, 60), seed=1), photo((80, 60), seed=2)
    data = encode(left, "MPO", save_all=True, append_images=[right], quality=95)
    assert Image.open(io.BytesIO(data)).format == "MPO"
    assert levels_off(FAST.from_bytes(data), Image.open(io.BytesIO(data))).mean() <= 0.35


@pytest.mark.parametrize("mode", MODES)
def test_the_result_is_a_writable_contiguous_uint8_tensor(mode: Mode) -> None:
    pixels = Preprocessor(32, mode).from_bytes(encode(rgb((40, 50)), "JPEG"))
    assert (pixels.shape, pixels.dtype) == ((3, 32, 32), torch.uint8)
    assert pixels.is_contiguous()
    pixels += 1


def test_a_picture_that_the_caller_opened_keeps_its_size_and_pixels() -> None:
    # given a JPEG so large that fast mode would decode it scaled
    data = photo_jpeg(1920, 1280)
    image = Image.open(io.BytesIO(data))
    # when
    FAST.from_image(image)
    # then
    assert image.size == (1920, 1280)
    assert image.tobytes() == Image.open(io.BytesIO(data)).tobytes()


# --- what is refused ---


def refusal(data: bytes, preprocessor: Preprocessor = FAST) -> ImageError:
    with pytest.raises(ImageError) as caught:
        preprocessor.from_bytes(data)
    assert "\n" not in caught.value.message
    assert caught.value.message.endswith(".")
    return caught.value


def test_no_bytes_are_an_empty_picture() -> None:
    assert refusal(b"").code == "EMPTY_IMAGE"


@pytest.mark.parametrize(
    "data", [b"<!DOCTYPE html><html>404</html>", b"\0" * 4096, b"%PDF-1.4", b"\xff\xd8", b"RIFF"]
)
def test_what_is_no_picture_is_quoted_with_its_beginning(data: bytes) -> None:
    error = refusal(data)
    assert error.code == "DECODE_UNRECOGNIZED"
    assert repr(data[:12]) in error.message


@pytest.mark.parametrize(
    "data", [b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"II\xbc\1"]
)
def test_formats_with_interpreters_or_few_users_are_not_tried(data: bytes) -> None:
    assert refusal(data).code == "DECODE_UNRECOGNIZED"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM"])
@pytest.mark.parametrize("share", [0.001, 0.02, 0.1, 0.3, 0.5, 0.9])
def test_a_picture_that_is_cut_off_is_refused_with_a_decoding_code(kind: str, share: float) -> None:
    data = encode(photo((320, 240), seed=9), kind)
    assert refusal(data[: int(len(data) * share)]).code.startswith("DECODE_")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_a_picture_cut_off_in_its_pixels_is_called_truncated(kind: str) -> None:
    data = encode(photo((320, 240), seed=9), kind)
    error = refusal(data[: len(data) // 2])
    assert error.code == "DECODE_TRUNCATED"
    assert "give the whole file" in error.message


def test_a_progressive_jpeg_cut_off_in_a_later_scan_is_refused() -> None:
    data = encode(photo((320, 240), seed=9), "JPEG", progressive=True)
    assert refusal(data[: len(data) * 3 // 4]).code == "DECODE_TRUNCATED"


def test_a_truncated_picture_that_the_caller_opened_is_refused_likewise() -> None:
    data = photo_jpeg(320, 240)
    image = Image.open(io.BytesIO(data[: len(data) // 2]))
    with pytest.raises(ImageError) as caught:
        FAST.from_image(image)
    assert caught.value.code == "DECODE_TRUNCATED"


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and has no pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    checked = header + struct.pack(">I", zlib.crc32(header))
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + checked + b"\0\0\0\0IDAT\x35\xaf\x06\x1e"


@pytest.mark.parametrize("size", [(9_000, 9_943), (40_000, 40_000), (1, 2**31 - 1)])
def test_too_many_pixels_are_refused_by_the_header_alone(size: tuple[int, int]) -> None:
    assert refusal(png_header(*size)).code == "TOO_MANY_PIXELS"


def test_the_limit_on_pixels_is_the_one_that_was_given_and_is_named() -> None:
    data = encode(rgb((101, 100)), "JPEG")
    error = refusal(data, Preprocessor(R, max_pixels=10_000))
    assert error.code == "TOO_MANY_PIXELS"
    assert "101x100" in error.message
    assert "10000" in error.message
    assert Preprocessor(R, max_pixels=10_100).from_bytes(data).shape == (3, R, R)


def test_the_limit_holds_for_the_size_before_a_scaled_decode() -> None:
    error = refusal(photo_jpeg(1920, 1280), Preprocessor(32, "fast", max_pixels=1920 * 1279))
    assert error.code == "TOO_MANY_PIXELS"


@pytest.mark.parametrize("mode", MODES)
def test_the_thinnest_jpeg_there_is_takes_no_gigabytes(mode: Mode) -> None:
    # given a strip whose resized self would have 224 x 14,679,840 pixels, 10 GB
    data = encode(rgb((1, 65_500)), "JPEG")
    # then
    assert Preprocessor(R, mode).from_bytes(data).float().mean(dim=(1, 2)).tolist() == (
        pytest.approx([200, 30, 90], abs=3)
    )


# --- threads ---


def test_eight_threads_get_what_one_gets(tmp_path: Path) -> None:
    pictures = [path.read_bytes() for path in write_zoo(tmp_path, 18, seed=2)]
    alone = [FAST.from_bytes(data) for data in pictures]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(FAST.from_bytes, pictures * 4))
    for index, pixels in enumerate(together):
        assert torch.equal(pixels, alone[index % len(alone)])
