"""The types that the engine accepts as images."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from clip_engine.errors import InputError
from clip_engine.quoting import quoted

ImageInput: TypeAlias = (
    str
    | os.PathLike[str]
    | bytes
    | bytearray
    | memoryview
    | BinaryIO
    | Image.Image
    | NDArray[np.uint8]
)
FORMS = (
    "a path, the bytes of a file, a file opened in binary mode, a Pillow image, or an array "
    "[H, W, 3] of uint8"
)
_CHANNELS = (1, 3, 4)


def check_images(images: Iterable[ImageInput]) -> list[ImageInput]:
    """Several images as a list: a generator's, a list's, or those of an array `[B, H, W, 3]`.

    Raises:
        InputError: It is a single image, or nothing that has members.
    """
    if _is_single(images):
        raise InputError(
            f"The images are a single image, {_described(images)}; give a list, which may have "
            "one member."
        )
    try:
        return list(images)
    except TypeError as error:
        raise InputError(f"The images are {quoted(images)}; give a list of images.") from error


def file_or_image(image: ImageInput) -> bytes | Image.Image:
    """Reduce an image's forms to two: the bytes of its file, and Pillow's.

    Args:
        image: A file is read from its beginning, if it can be rewound. An array is `[H, W]`,
            `[H, W, 1]` (grey), `[H, W, 3]` (RGB) or `[H, W, 4]` (RGBA).

    Raises:
        InputError: It is none of these.
        OSError: The path or file can't be read.
    """
    if isinstance(image, bytes | Image.Image):
        return image
    if isinstance(image, str | os.PathLike):
        return _file(os.fspath(image))
    if isinstance(image, bytearray | memoryview):
        return bytes(image)
    if isinstance(image, np.ndarray):
        return _image_of(image)
    if hasattr(image, "read"):
        return _content(image)
    raise InputError(f"The image is {_described(image)}; give {FORMS}.")


def _is_single(images: object) -> bool:
    if isinstance(images, np.ndarray):
        return images.dtype.kind not in "OUS" and images.ndim != 4  # neither paths nor a batch
    if isinstance(images, str | os.PathLike | bytes | bytearray | memoryview | Image.Image):
        return True
    return hasattr(images, "read")


def _file(path: str) -> bytes:
    if not path or "\0" in path:
        raise InputError(f"The image's path is {quoted(path)}; give that of a file.")
    if "://" in path:
        raise InputError(f"The image is the URL {quoted(path)}; fetch it and give its bytes.")
    return Path(path).read_bytes()


def _content(file: BinaryIO) -> bytes:
    try:
        if file.seekable():
            file.seek(0)
        content = file.read()
    except (ValueError, AttributeError) as error:  # closed, or no file after all
        raise InputError(f"The image is {_described(file)}: {error}; give {FORMS}.") from error
    if not isinstance(content, bytes):
        raise InputError(f"The file {quoted(file)} gives no bytes; open it in binary mode.")
    return content


def _image_of(array: NDArray[Any]) -> Image.Image:
    if array.dtype != np.uint8:
        raise InputError(
            f"The image is {_described(array)}; give uint8, 0 to 255 (what lies in [0, 1] is to "
            "be multiplied by 255)."
        )
    is_grey = array.ndim == 2
    if 0 in array.shape or not (is_grey or (array.ndim == 3 and array.shape[2] in _CHANNELS)):
        raise InputError(
            f"The image is {_described(array)}; give [H, W, 3] (from [3, H, W]: "
            "array.transpose(1, 2, 0)), or [H, W] if it is grey."
        )
    pixels = array[..., 0] if array.shape[-1] == 1 and not is_grey else array
    return Image.fromarray(np.ascontiguousarray(pixels))


def _described(image: object) -> str:
    if isinstance(image, bytes | bytearray | memoryview):
        return f"{len(image)} bytes that begin with {bytes(image[:12])!r}"
    if isinstance(image, np.ndarray | Tensor):
        kind = "an array" if isinstance(image, np.ndarray) else "a tensor"
        return f"{kind} of {image.dtype} with the shape {tuple(image.shape)}"
    if isinstance(image, Image.Image):
        return f"one of Pillow's with {image.width}x{image.height} pixels"
    if isinstance(image, str | os.PathLike):
        return quoted(image)
    return f"{quoted(image)} of type {type(image).__name__}"
