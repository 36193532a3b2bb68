"""Decodes JPEGs and resizes them on a device: what a worker that decodes on its GPU would do.

On CUDA nvJPEG decodes, called by torchcodec or else by torchvision; on a CPU the same functions
call libjpeg-turbo. The resize takes the two passes of exact mode and rounds after each of them, as
Pillow does: of the same decoded pixels it is within 2 levels of 255 of exact mode, and 0.05 in the
mean (`tests/project/test_gpu_decoding.py`). What nvJPEG decodes differently comes on top;
`difference` measures both together.

Axes: H height, W width, B images, R pixels a side.
"""

from __future__ import annotations

import importlib
import io
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any, TypeAlias

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from clip_engine.images.geometry import place
from clip_engine.images.orientation import turn_of
from clip_engine.images.transform import ImageTransform
from clip_engine.preprocess import Preprocessor

Decode: TypeAlias = Callable[[list[Tensor], torch.device], list[Tensor]]

MODULES = {"torchcodec": "torchcodec.decoders", "torchvision": "torchvision.io"}


@dataclass(frozen=True)
class Difference:
    """To the pixels of exact mode, in levels of 255: over all pixels, and of one pixel."""

    mean: float
    largest: float


@dataclass(frozen=True)
class Rate:
    """How fast a device decodes.

    Attributes:
        images_per_s: By the clock.
        host_ms: Processor time of this process for an image.
    """

    images_per_s: float
    host_ms: float


def available() -> tuple[str, ...]:
    """Which decoders can be imported here, the preferred one first."""
    found = []
    for name, module in MODULES.items():
        try:
            importlib.import_module(module)
        except (ImportError, OSError, RuntimeError):  # not there, or made for another torch
            continue
        found.append(name)
    return tuple(found)


def decode(files: Sequence[bytes], device: torch.device, decoder: str) -> list[Tensor]:
    """Decode JPEGs in one call.

    Args:
        files: JPEGs of three components or one; what nvJPEG doesn't know raises RuntimeError.
        device: Where to.
        decoder: `torchcodec` or `torchvision`.

    Returns:
        uint8 `[3, H, W]` on the device, RGB, as stored.
    """
    module: Any = importlib.import_module(MODULES[decoder])
    mode = "RGB" if decoder == "torchcodec" else module.ImageReadMode.RGB
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the bytes are read-only; torchvision's decoder is to go
        data = [torch.frombuffer(file, dtype=torch.uint8) for file in files]
        images: list[Tensor] = module.decode_jpeg(data, mode=mode, device=str(device))
    return images


def upright(images: Sequence[Tensor], files: Sequence[bytes]) -> list[Tensor]:
    """Turn images as their files' EXIF orientation asks for."""
    turns = [turn_of(Image.open(io.BytesIO(file))) for file in files]
    return [turn.upright_pixels(image) for turn, image in zip(turns, images, strict=True)]


def resize(images: Sequence[Tensor], transform: ImageTransform) -> Tensor:
    """Resize images and crop or pad them to squares; those of one size together.

    Args:
        images: uint8 `[3, H, W]`, upright, on one device.
        transform: The model's.

    Returns:
        uint8 `[B, 3, R, R]` on that device.
    """
    side = transform.resolution
    squares = images[0].new_full((len(images), 3, side, side), transform.fill)
    alike: dict[torch.Size, list[int]] = defaultdict(list)
    for number, image in enumerate(images):
        alike[image.shape].append(number)
    for numbers in alike.values():
        _resize_alike(
            torch.stack([images[number] for number in numbers]), transform, squares, numbers
        )
    return squares


def _resize_alike(
    images: Tensor, transform: ImageTransform, squares: Tensor, numbers: list[int]
) -> None:
    placement = place((images.shape[3], images.shape[2]), transform)
    (width, height), (left, top, right, bottom) = placement.size, placement.kept
    between = (images.shape[2], width)
    if width > images.shape[3] and height < images.shape[2]:  # then Pillow begins with the columns
        between = (height, images.shape[3])
    resized = _resample(_resample(images, between, transform), (height, width), transform)
    x, y = placement.padding or (0, 0)
    part = squares[:, :, y : y + bottom - top, x : x + right - left]
    part[numbers] = resized[..., top:bottom, left:right]


def _resample(images: Tensor, size: tuple[int, int], transform: ImageTransform) -> Tensor:
    """In float32, because torch has no kernel for uint8 on CUDA, and rounded half up to uint8."""
    levels = functional.interpolate(
        images.float(), size=size, mode=transform.interpolation, antialias=True
    )
    return levels.add_(0.5).floor_().clamp_(0, 255).to(torch.uint8)


def prepare(
    files: Sequence[bytes], transform: ImageTransform, device: torch.device, decoder: str
) -> Tensor:
    """From JPEGs to uint8 `[B, 3, R, R]` on the device."""
    return resize(upright(decode(files, device, decoder), files), transform)


def difference(
    files: Sequence[bytes], transform: ImageTransform, device: torch.device, decoder: str
) -> Difference:
    """How far `prepare` is from exact mode."""
    exact = Preprocessor(transform, "exact")
    oracle = torch.stack([exact.from_bytes(file) for file in files]).float()
    off = (prepare(files, transform, device, decoder).cpu().float() - oracle).abs()
    return Difference(float(off.mean()), float(off.max()))


def measure(
    work: Callable[[Sequence[bytes]], object],
    files: Sequence[bytes],
    device: torch.device,
    *,
    batch: int = 64,
    seconds: float = 2.0,
) -> Rate:
    """How many images a second go through `work`, batch by batch, once it is warm.

    Args:
        work: For example `lambda files: prepare(files, transform, device, decoder)`.
        files: Taken in turn.
        device: Which is waited for at the end.
        batch: Files of a call.
        seconds: For at least so long.
    """
    synchronize = torch.get_device_module(device).synchronize
    endless = cycle(files)
    work(list(islice(endless, batch)))
    synchronize()
    count, start, cpu = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - start < seconds:
        work(list(islice(endless, batch)))
        count += batch
    synchronize()
    host_s = time.process_time() - cpu
    return Rate(count / (time.perf_counter() - start), 1000 * host_s / count)
