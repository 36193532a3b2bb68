"""Reads the images of a calibration and encodes them.

Axes: B images, D embedding.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from clip_engine.errors import ClipEngineError
from clip_worker.contract.uri import file_path
from clip_worker.errors import ClipWorkerError, InvalidRequestError
from clip_worker.quoting import quote, shown_uri
from worker.cli.labels.calibrate.rows import LabelledImage
from worker.sources.data import DataSource
from worker.sources.policy import FetchLimits

if TYPE_CHECKING:
    from clip_engine.engine import Engine

IMAGES_AT_ONCE = 256  # whose pixels are in memory, 150 kB each at 224 pixels

# A path may have a colon, but hardly two slashes behind it.
_SCHEME = re.compile(r"(data|file|[a-z][a-z0-9+.\-]+(?=://)):", re.IGNORECASE)


class Encoded(NamedTuple):
    """Images that could be read, and those that could not.

    Attributes:
        features: float32 `[B, D]`.
        rows: The B rows that they belong to.
        unreadable: For each other row a sentence that begins with its line.
    """

    features: Tensor
    rows: list[LabelledImage]
    unreadable: list[str]


def encode_images(
    engine: Engine,
    rows: Sequence[LabelledImage],
    folder: Path,
    progress: Callable[[int, int], None],
) -> Encoded:
    """Decode images on all cores, and encode them.

    Args:
        engine: The model.
        rows: Their images are paths, relative to `folder` or absolute, or `file:` or `data:` URIs.
        folder: Of the CSV file.
        progress: Called with the number of images done, and of all.
    """
    features: list[Tensor] = []
    readable: list[LabelledImage] = []
    unreadable: list[str] = []
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for start in range(0, len(rows), IMAGES_AT_ONCE):
            chunk = rows[start : start + IMAGES_AT_ONCE]
            prepared = threads.map(lambda row: _prepare(engine, row, folder), chunk)
            pixels: list[Tensor] = []
            for row, outcome in zip(chunk, prepared, strict=True):
                if isinstance(outcome, str):
                    unreadable.append(f"line {row.line}: {outcome}")
                else:
                    pixels.append(outcome)
                    readable.append(row)
            if pixels:
                features.append(engine.encode_pixels(pixels))
            progress(start + len(chunk), len(rows))
    empty = torch.empty(0, engine.model.embed_dim)
    return Encoded(torch.cat(features) if features else empty, readable, unreadable)


def _prepare(engine: Engine, row: LabelledImage, folder: Path) -> Tensor | str:
    """An image's pixels, or why there are none."""
    try:
        return engine.prepare(_source(row.image, folder))
    except OSError as error:
        return f"{quote(row.image)} can't be read: {error.strerror or error}."
    except (ClipEngineError, ClipWorkerError) as error:
        return str(error)
    except ValueError as error:  # a NUL in a path
        return f"{quote(row.image)} can't be read: {error}."


def _source(image: str, folder: Path) -> Path | bytes:
    """The file of an image, or its bytes.

    Raises:
        ClipWorkerError: It is a URI of another scheme, or is not valid.
    """
    scheme = _SCHEME.match(image)
    match scheme[1].lower() if scheme else "":
        case "":
            return folder / image
        case "data":
            return DataSource(FetchLimits()).fetch(image)
        case "file":
            return Path(file_path(image))
    raise InvalidRequestError(
        f"{shown_uri(image)} is neither a path nor a file: or data: URI; download it, and name "
        "the file."
    )
